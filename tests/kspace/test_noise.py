import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, estimate_sigma, rms_per_part

ALL = torch.ones(1, 1, 1, dtype=torch.bool)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sigma_is_the_standard_deviation_of_each_part():
    noise = complex_noise((4, 128, 128), 0.3, generator())
    assert noise.dtype == torch.complex64
    for part in (noise.real, noise.imag):
        assert part.std() == pytest.approx(0.3, rel=0.01)
        assert abs(part.mean()) < 0.005
    assert abs((noise.real * noise.imag).mean()) < 0.001
    kurtosis = noise.real.double().pow(4).mean() / noise.real.double().square().mean() ** 2
    assert kurtosis == pytest.approx(3.0, abs=0.1)  # Gaussian


def test_noise_is_white_with_the_same_sigma_in_image_space():
    image = ifft2c(complex_noise((4, 64, 64), 0.3, generator()))
    assert image.real.std() == pytest.approx(0.3, rel=0.02)
    assert image.imag.std() == pytest.approx(0.3, rel=0.02)
    neighbours = (image[:, 1:] * image[:, :-1].conj()).mean().abs()
    assert neighbours < 0.03 * 0.3**2 * 2


def test_one_sigma_per_slice():
    sigma = torch.tensor([0.1, 2.0])
    noise = complex_noise((2, 64, 64), sigma[:, None, None], generator())
    torch.testing.assert_close(rms_per_part(noise), sigma, rtol=0.03, atol=0.0)


def test_the_generator_decides():
    first = complex_noise((8, 8), 1.0, generator(1))
    assert torch.equal(first, complex_noise((8, 8), 1.0, generator(1)))
    assert not torch.equal(first, complex_noise((8, 8), 1.0, generator(2)))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_rms_per_part(scale):
    kspace = torch.full((2, 9, 7), scale * (3 + 4j), dtype=torch.complex64)
    torch.testing.assert_close(rms_per_part(kspace), torch.full((2,), scale * 12.5**0.5))


@pytest.mark.parametrize("level", [0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_estimate_follows_the_truth(phantoms, level, acceleration):
    sigma = level * rms_per_part(phantoms)
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma[:, None, None], generator())
    mask = column_mask(64, acceleration, 0.08, "random", "scan")
    ratio = estimate_sigma(noisy, mask) / sigma
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)
    assert torch.all((ratio - 1).abs() < 0.15)


def test_what_anatomy_is_left_makes_the_estimate_too_high_but_not_by_much(phantoms):
    estimate = estimate_sigma(phantoms, ALL)
    assert torch.all(estimate > 0)
    assert torch.all(estimate < 0.002 * rms_per_part(phantoms))


@pytest.mark.parametrize("size", [(65, 64), (64, 37), (33, 31)])
def test_estimate_on_pure_noise_of_any_size(size):
    noise = complex_noise((8, *size), 0.7, generator())
    assert estimate_sigma(noise, ALL).mean() == pytest.approx(0.7, rel=0.03)


def test_anatomy_inside_the_ellipse_does_not_count():
    noise = complex_noise((2, 64, 96), 0.7, generator())
    y, x = (torch.arange(64) - 32) / 32, (torch.arange(96) - 48) / 48
    inside = y[:, None].square() + x.square() <= 0.9**2
    assert torch.equal(estimate_sigma(noise + 1e3 * inside, ALL), estimate_sigma(noise, ALL))


@pytest.mark.parametrize("ends", [(slice(40, 56), slice(0, 3)), (slice(0, 3), slice(40, 56))])
def test_the_outer_tenth_of_each_axis_counts(ends):
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[ends] = True
    noise = complex_noise((50, 96, 96), 0.7, generator())
    assert estimate_sigma(noise, mask).mean() == pytest.approx(0.7, rel=0.05)


def test_only_measured_bins_count():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    mask = column_mask(64, 4, 0.08, "random", "scan")
    estimate = estimate_sigma(noise, mask)
    assert torch.equal(estimate_sigma(torch.where(mask, noise, torch.nan), mask), estimate)
    assert torch.equal(estimate_sigma(torch.where(mask, noise, 0), mask), estimate)


def test_too_few_outer_bins_give_zero():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    assert torch.equal(estimate_sigma(noise, block_mask(32, 64)), torch.zeros(2))
    assert torch.equal(estimate_sigma(noise, ~ALL), torch.zeros(2))
