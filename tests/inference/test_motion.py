"""Displacements: what moves where, and finding it again from bins that are known in part."""

import math

import pytest
import torch

from mri_iahvae.inference.motion import find_displacement, moved
from mri_iahvae.kspace.fft import fft2c


def blobs(size):
    """A smooth complex image (1, size, size)."""
    axis = (torch.arange(size) - size // 2) / size
    y, x = axis[:, None], axis[None]
    magnitude = sum(
        torch.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 0.06**2))
        for a, b in [(-0.2, 0.1), (0.1, -0.2), (0.2, 0.2)]
    )
    return torch.polar(magnitude, 0.5 + 0 * magnitude)[None]


def constant(rows, columns, size):
    """A displacement by so many pixels everywhere."""
    pixels = torch.tensor([columns, rows], dtype=torch.float32)
    return (2 / size * pixels).reshape(1, 2, 1, 1).expand(1, 2, 3, 3)


def test_no_displacement_moves_nothing(noise):
    image = torch.view_as_complex(torch.randn(2, 12, 9, 2, generator=noise))
    torch.testing.assert_close(moved(image, torch.zeros(2, 2, 4, 4)), image, atol=1e-5, rtol=0)


def test_whole_pixels_are_a_roll_and_zero_comes_in(noise):
    image = torch.view_as_complex(torch.randn(1, 16, 12, 2, generator=noise))
    rows, columns = 2, -3
    shift = torch.tensor([2 * columns / 12, 2 * rows / 16]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3)
    expected = torch.roll(image, (-rows, -columns), (1, 2))
    expected[:, -rows:], expected[:, :, :-columns] = 0, 0
    inner = (slice(None), slice(0, 13), slice(4, None))  # bicubic kernels reach over the edge
    torch.testing.assert_close(moved(image, shift)[inner], expected[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [32, 128])
def test_a_shift_is_found_from_half_of_the_columns(size, noise):
    image, shift = blobs(size), constant(0.02 * size, -0.03 * size, size)
    target = fft2c(moved(image, shift))
    weight = 1e4 * (torch.rand(size, generator=noise) < 0.5).float().expand(1, size, size)
    found = find_displacement(fft2c(image), target, weight)
    error = fft2c(moved(image, found)) - target
    assert error.norm() < 0.05 * (fft2c(image) - target).norm()


def test_where_nothing_is_known_nothing_moves():
    bins = fft2c(blobs(32))
    found = find_displacement(bins, 2 * bins.flip(-1), torch.zeros(1, 32, 32))
    assert not found.any()


def test_elements_of_a_batch_are_independent():
    image = blobs(32)
    bins = fft2c(torch.cat([image, moved(image, constant(1.0, 0.5, 32))]))
    weight = torch.full((2, 32, 32), 1e3)
    both = find_displacement(bins, bins.flip(0), weight)
    alone = find_displacement(bins[1:], bins[:1], weight[:1])
    size = math.sqrt(float(alone.square().mean()))
    torch.testing.assert_close(both[1:], alone, atol=1e-3 * size, rtol=1e-2)
