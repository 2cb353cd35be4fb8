import math

import pytest
import torch

from mri_iahvae.kspace.decomposition import FourierBands
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.orthogonal import Rotations, angle_count
from mri_iahvae.training.rotations import code_length, learn_rotations


def test_the_code_length_of_white_noise_is_that_of_one_gaussian():
    kspace = complex_noise((4000, 8, 8), 0.7, torch.Generator().manual_seed(0))
    expected = 0.5 * math.log(2 * math.pi * math.e * (0.7**2 + 0.1**2))
    for decomposition in (FourierBands(8), Rotations(8)):
        assert code_length(decomposition, kspace, 0.1) == pytest.approx(expected, abs=0.01)


def test_the_code_length_of_two_scales():
    """DC of variance 9, and nothing in the 3 other bins of a 2 x 2 grid."""
    kspace = torch.zeros(4000, 2, 2, dtype=torch.complex64)
    kspace[:, 1, 1] = complex_noise((4000,), 3.0, torch.Generator().manual_seed(0))
    expected = 0.5 * (math.log(9.01) + 3 * math.log(0.01)) / 4 + 0.5 * math.log(2 * math.pi * math.e)
    assert code_length(FourierBands(2), kspace, 0.1) == pytest.approx(expected, abs=0.01)


def test_rotations_are_learned():
    """Ramps of random slope: their details vanish for filters with two moments, which Haar's do not have."""
    noise = torch.Generator().manual_seed(0)
    n = torch.arange(16) - 7.5
    a, b = (torch.randn(256, 1, 1, generator=noise) for _ in range(2))
    images = torch.sin(0.2 * (a * n[:, None] + b * n)) * (n.abs()[:, None] < 6) * (n.abs() < 6)
    kspace = fft2c(images + 0j)
    before = code_length(Rotations(16), kspace, 0.01)
    angles = learn_rotations(kspace, 0.01, 60)
    assert len(angles) == angle_count(16)
    after = code_length(Rotations(16, angles), kspace, 0.01)
    assert after < before - 0.1
    assert learn_rotations(kspace, 0.01, 3, seed=1) == learn_rotations(kspace, 0.01, 3, seed=1)
