import math

import pytest
import torch

from mri_iahvae.kspace.orthogonal import LAYERS, Rotations, angle_count, haar_angles, steps
from mri_iahvae.kspace.separable import cascade


def test_every_step_is_orthogonal_whatever_its_angles():
    noise = torch.Generator().manual_seed(0)
    angles = 10 * torch.randn(angle_count(16), dtype=torch.float64, generator=noise)
    found = steps(16, angles)
    assert [len(step) for step in found] == [2, 4, 8, 16]
    for step in (*found, *cascade(found)):
        torch.testing.assert_close(step @ step.mT, torch.eye(len(step), dtype=torch.float64))


def test_a_step_against_the_product_of_its_rotations():
    angles = torch.randn(LAYERS, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product = torch.eye(8, dtype=torch.float64)
    for number, layer in enumerate(angles):
        for pair, angle in enumerate(layer.tolist()):
            a, b = 2 * pair + number % 2, (2 * pair + number % 2 + 1) % 8
            rotation = torch.eye(8, dtype=torch.float64)
            rotation[a, a] = rotation[b, b] = math.cos(angle)
            rotation[a, b], rotation[b, a] = math.sin(angle), -math.sin(angle)
            product = rotation @ product
    before = haar_angles(4)  # of the sides 2 and 4
    found = steps(8, torch.cat([before, angles.flatten()]))[-1]
    torch.testing.assert_close(found, product[[0, 2, 4, 6, 1, 3, 5, 7]])


def test_the_taps_of_a_step():
    """A value of the coarser scale sees as many pixels as there are taps, and its own pair in their middle."""
    angles = torch.full((angle_count(32),), 0.3, dtype=torch.float64)
    row = steps(32, angles)[-1][8]
    assert row.nonzero().flatten().tolist() == list(range(17 - LAYERS, 17 + LAYERS))


def test_the_gradient_of_angles():
    angles = haar_angles(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cascade(steps(4, x))[-1], angles)


def test_haar_averages_pairs():
    image = torch.arange(16.0).reshape(1, 4, 4) + 0j
    haar = Rotations(4)
    small = haar.image(haar.block(haar.analysis(image, 2), 1), 1)
    torch.testing.assert_close(small, image.unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean(dim=(2, 4)))


def test_the_number_of_angles():
    with pytest.raises(ValueError, match=f"expected {angle_count(8)} angles of a grid of 8"):
        Rotations(8, (0.1, 0.2))
