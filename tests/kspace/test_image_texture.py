"""Texture: a wave's by hand, flat objects against structured ones, and what it does not depend on."""

import math

import pytest
import torch

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.image_texture import log_texture
from mri_iahvae.kspace.noise import complex_noise


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(5)


def grid(height, width):
    y, x = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    return y[:, None].expand(height, width), x.expand(height, width)


def kspace_of(image):
    return fft2c(image.to(torch.complex64))[None]


def disc(size, radius=0.35):
    y, x = grid(size, size)
    return (torch.hypot(y.float(), x.float()) < radius * size).float()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (63, 48), (40, 75)])
@pytest.mark.parametrize("count", [3, 7])
def test_a_wave_has_the_median_slope_of_its_sine(height, width, count):
    _, x = grid(height, width)
    angle = 2 * math.pi * count / width
    wave = 1 + 0.1 * torch.cos(angle * (x + 0.3))
    # Of 0.1 cos the window keeps cos^2 of half the angle; a difference over two pixels is 2 sin(angle) sin(...).
    expected = 0.1 * math.cos(angle / 2) ** 2 * math.sin(angle) * math.sin(math.pi / 4)
    assert float(log_texture(kspace_of(wave)).exp()) == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("size", [32, 63, 128])
def test_a_disc_is_flat_and_structure_is_not(size):
    y, x = grid(size, size)
    flat = disc(size)
    structured = flat * (1 + 0.2 * torch.cos(0.5 * y) * torch.cos(0.5 * x))
    assert float(log_texture(kspace_of(flat)).exp()) < 0.02 * (32 / size)
    assert float(log_texture(kspace_of(structured)).exp()) > 0.025


def test_background_does_not_count(noise):
    """Nor does what is dimmer than a tenth of the object."""
    flat = disc(64, 0.2)
    ghost = flat + 0.05 * (1 - flat) * torch.rand(64, 64, generator=noise)
    assert float(log_texture(kspace_of(ghost)).exp()) < 0.01


def test_noise_is_texture(noise):
    kspace = kspace_of(disc(64))
    noisy = kspace + complex_noise((1, 64, 64), 0.1, noise)
    assert log_texture(noisy) > log_texture(kspace) + 1


def test_units_phase_and_the_other_slices_do_not_matter(noise):
    slices = torch.cat([kspace_of(disc(32)), complex_noise((2, 32, 32), 1.0, noise)])
    expected = log_texture(slices)
    torch.testing.assert_close(log_texture(3e-8j * slices), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(log_texture(slices[1:2]), expected[1:2])


def test_nothing_has_no_texture(noise):
    slices = torch.stack([torch.zeros(16, 16, dtype=torch.complex64), complex_noise((16, 16), 1.0, noise)])
    assert log_texture(slices).isnan().tolist() == [True, False]
