import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, estimate_sigma, rms

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
    torch.testing.assert_close(rms(noise) / 2**0.5, sigma, rtol=0.03, atol=0.0)


def test_the_generator_decides():
    first = complex_noise((8, 8), 1.0, generator(1))
    assert torch.equal(first, complex_noise((8, 8), 1.0, generator(1)))
    assert not torch.equal(first, complex_noise((8, 8), 1.0, generator(2)))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_rms(scale):
    kspace = torch.full((2, 9, 7), scale * (3 + 4j), dtype=torch.complex64)
    torch.testing.assert_close(rms(kspace), torch.full((2,), scale * 5.0))


def test_estimate_on_pure_noise_is_unbiased():
    estimates = [estimate_sigma(complex_noise((4, 128, 128), 0.7, generator(i)), ALL) for i in range(10)]
    assert sum(estimates) / 10 == pytest.approx(0.7, rel=0.015)
    assert estimates == pytest.approx([0.7] * 10, rel=0.05)


@pytest.mark.parametrize("kind", ["columns", "rows", "bins"])
def test_estimate_on_undersampled_pure_noise(kind):
    columns = column_mask(128, 4, 0.08, "random", "scan").expand(128, 128)
    bins = torch.rand(128, 128, generator=generator()) < 0.25
    mask = {"columns": columns, "rows": columns.T, "bins": bins}[kind]
    estimates = [estimate_sigma(complex_noise((8, 128, 128), 0.7, generator(i)), mask) for i in range(10)]
    assert sum(estimates) / 10 == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("size", [(65, 64), (64, 37), (33, 31), (20, 17), (7, 150)])
def test_estimate_on_pure_noise_of_any_size(size):
    noise = complex_noise((24, *size), 0.7, generator())
    assert estimate_sigma(noise, ALL) == pytest.approx(0.7, rel=0.03)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_estimate_follows_the_units(phantoms, scale):
    noisy = phantoms + complex_noise(tuple(phantoms.shape), 0.1, generator())
    assert estimate_sigma(noisy * scale, ALL) == pytest.approx(estimate_sigma(noisy, ALL) * scale, rel=1e-5)


@pytest.mark.parametrize("level", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_estimate_follows_the_truth(phantoms, level, acceleration):
    sigma = level * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    mask = column_mask(64, acceleration, 0.08, "random", "scan")
    assert estimate_sigma(noisy, mask) == pytest.approx(sigma, rel=0.05)
    single = [estimate_sigma(noisy[i : i + 1], mask) for i in range(len(noisy))]
    assert single == pytest.approx([sigma] * len(noisy), rel=0.2)


def test_without_background_the_edge_of_kspace_decides():
    """An object that fills the field of view, band-limited to the inner half of k-space."""
    noise = complex_noise((8, 64, 64), 0.7, generator())
    anatomy = block_mask(32, 64) * complex_noise((8, 64, 64), 70.0, generator(1))
    assert estimate_sigma(noise + anatomy, ALL) == pytest.approx(0.7, rel=0.05)


def test_a_background_set_to_zero_is_not_taken_for_silence():
    """Processed images have one; rounding and the edge of the object must not pass for noise."""
    axis = torch.linspace(-1, 1, 128)
    disc = axis[:, None].square() + axis.square() < 0.5
    image = (20 + complex_noise((4, 128, 128), 0.7, generator())) * disc
    assert 0.4 < estimate_sigma(fft2c(image), ALL) < 1.0


def test_in_a_centre_block_the_background_decides(phantoms):
    """`--up-to` leaves no edge, but an image of lower resolution."""
    sigma = 0.1 * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    assert estimate_sigma(noisy, block_mask(32, 64)) == pytest.approx(sigma, rel=0.1)


def test_what_anatomy_is_left_makes_the_estimate_too_high_but_not_by_much(phantoms):
    assert 0 < estimate_sigma(phantoms, ALL) < 0.002 * float(rms(phantoms).median())


def test_only_measured_bins_count():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    mask = column_mask(64, 4, 0.08, "random", "scan")
    estimate = estimate_sigma(noise, mask)
    assert estimate_sigma(torch.where(mask, noise, torch.nan), mask) == estimate
    assert estimate_sigma(torch.where(mask, noise, 0), mask) == estimate


def test_exact_zeros_are_no_measurement():
    noise = complex_noise((4, 96, 80), 0.7, generator())
    padded = torch.zeros(4, 128, 128, dtype=torch.complex64)
    padded[:, 16:112, 24:104] = noise
    assert estimate_sigma(padded, ALL) == pytest.approx(0.7, rel=0.03)
    y, x = torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80)
    ellipse = y[:, None].square() + x.square() < 1
    assert estimate_sigma(noise * ellipse, ALL) == pytest.approx(0.7, rel=0.03)
    assert estimate_sigma(noise * ellipse, ellipse) == pytest.approx(0.7, rel=0.03)


def test_silent_slices_do_not_count():
    noise = complex_noise((4, 64, 64), 0.7, generator())
    silent = torch.zeros(30, 64, 64)
    assert estimate_sigma(torch.cat((silent, noise)), ALL) == pytest.approx(estimate_sigma(noise, ALL))


@pytest.mark.parametrize("size", [(64, 64), (33, 31), (1, 1), (1, 40)])
def test_silence_has_no_noise(size):
    assert estimate_sigma(torch.zeros(2, *size, dtype=torch.complex64), ALL) == 0


def test_too_few_bins_give_zero():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    assert estimate_sigma(noise, block_mask(16, 64)) == 0
    assert estimate_sigma(noise, ~ALL) == 0
    assert estimate_sigma(noise[:, :3, :3], ALL) == 0


def test_one_mask_for_all_slices():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    with pytest.raises(RuntimeError):
        estimate_sigma(noise, torch.ones(2, 64, 64, dtype=torch.bool))
