import numpy as np
import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.noise_estimate import (
    _background_tiles,
    _outermost_bins,
    _quietest,
    estimate_sigma,
)

ALL = torch.ones(1, 1, dtype=torch.bool)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def estimate(kspace, mask):
    return estimate_sigma(kspace.numpy(), mask.numpy())


def test_estimate_on_pure_noise_is_unbiased():
    estimates = [estimate(complex_noise((4, 128, 128), 0.7, generator(i)), ALL) for i in range(10)]
    assert sum(estimates) / 10 == pytest.approx(0.7, rel=0.015)
    assert estimates == pytest.approx([0.7] * 10, rel=0.05)


@pytest.mark.parametrize("kind", ["columns", "rows", "bins"])
def test_estimate_on_undersampled_pure_noise(kind):
    columns = column_mask(128, 4, 0.08, "random", "scan").expand(128, 128)
    bins = torch.rand(128, 128, generator=generator()) < 0.25
    mask = {"columns": columns, "rows": columns.T, "bins": bins}[kind]
    estimates = [estimate(complex_noise((8, 128, 128), 0.7, generator(i)), mask) for i in range(10)]
    assert sum(estimates) / 10 == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("size", [(65, 64), (64, 37), (33, 31), (20, 17), (7, 150)])
def test_estimate_on_pure_noise_of_any_size(size):
    noise = complex_noise((24, *size), 0.7, generator())
    assert estimate(noise, ALL) == pytest.approx(0.7, rel=0.03)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_estimate_follows_the_units(phantoms, scale):
    noisy = phantoms + complex_noise(tuple(phantoms.shape), 0.1, generator())
    assert estimate(noisy * scale, ALL) == pytest.approx(estimate(noisy, ALL) * scale, rel=1e-5)


@pytest.mark.parametrize("level", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_estimate_follows_the_truth(phantoms, level, acceleration):
    sigma = level * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    mask = column_mask(64, acceleration, 0.08, "random", "scan")
    assert estimate(noisy, mask) == pytest.approx(sigma, rel=0.05)
    single = [estimate(noisy[i : i + 1], mask) for i in range(len(noisy))]
    assert single == pytest.approx([sigma] * len(noisy), rel=0.2)


def test_without_background_the_edge_of_kspace_decides():
    """An object that fills the field of view, band-limited to the inner half of k-space."""
    noise = complex_noise((8, 64, 64), 0.7, generator())
    anatomy = block_mask(32, 64) * complex_noise((8, 64, 64), 70.0, generator(1))
    assert estimate(noise + anatomy, ALL) == pytest.approx(0.7, rel=0.05)
    silent = torch.zeros(1, 64, 64)
    assert estimate(torch.cat((silent, noise + anatomy)), ALL) == pytest.approx(0.7, rel=0.05)


def test_a_background_set_to_zero_is_not_taken_for_silence():
    """Processed images have one; rounding and the edge of the object must not pass for noise."""
    axis = torch.linspace(-1, 1, 128)
    disc = axis[:, None].square() + axis.square() < 0.5
    image = (20 + complex_noise((4, 128, 128), 0.7, generator())) * disc
    assert 0.4 < estimate(fft2c(image), ALL) < 1.0


def test_in_a_centre_block_the_background_decides(phantoms):
    """`--up-to` leaves no edge, but an image of lower resolution."""
    sigma = 0.1 * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    assert estimate(noisy, block_mask(32, 64)) == pytest.approx(sigma, rel=0.1)


def test_what_anatomy_is_left_makes_the_estimate_too_high_but_not_by_much(phantoms):
    assert 0 < estimate(phantoms, ALL) < 0.002 * float(rms(phantoms).median())


def test_only_measured_bins_count():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    mask = column_mask(64, 4, 0.08, "random", "scan")
    expected = estimate(noise, mask)
    assert estimate(torch.where(mask, noise, torch.nan), mask) == expected
    assert estimate(torch.where(mask, noise, 0), mask) == expected


def test_exact_zeros_are_no_measurement():
    noise = complex_noise((4, 96, 80), 0.7, generator())
    padded = torch.zeros(4, 128, 128, dtype=torch.complex64)
    padded[:, 16:112, 24:104] = noise
    assert estimate(padded, ALL) == pytest.approx(0.7, rel=0.03)
    y, x = torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80)
    ellipse = y[:, None].square() + x.square() < 1
    assert estimate(noise * ellipse, ALL) == pytest.approx(0.7, rel=0.03)
    assert estimate(noise * ellipse, ellipse) == pytest.approx(0.7, rel=0.03)
    columns = column_mask(80, 4, 0.08, "random", "scan")
    assert estimate(noise * ellipse, columns[None]) == pytest.approx(0.7, rel=0.03)


def test_silent_slices_do_not_count():
    noise = complex_noise((4, 64, 64), 0.7, generator())
    silent = torch.zeros(30, 64, 64)
    assert estimate(torch.cat((silent, noise)), ALL) == pytest.approx(estimate(noise, ALL))


@pytest.mark.parametrize("size", [(64, 64), (33, 31), (1, 1), (1, 40)])
def test_silence_has_no_noise(size):
    assert estimate(torch.zeros(2, *size, dtype=torch.complex64), ALL) == 0


def test_too_few_bins_give_zero():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    assert estimate(noise, block_mask(16, 64)) == 0
    assert estimate(noise, ~ALL) == 0
    assert estimate(noise[:, :3, :3], ALL) == 0


def test_one_mask_for_all_slices():
    noise = complex_noise((2, 64, 64), 0.7, generator())
    with pytest.raises(ValueError, match="dimensions"):
        estimate(noise, torch.ones(2, 64, 64, dtype=torch.bool))


def test_tiles_are_small_along_an_axis_with_gaps():
    noise = complex_noise((2, 64, 64), 0.7, generator()).numpy()
    columns = column_mask(64, 4, 0.08, "random", "scan").expand(64, 64).numpy()
    for mask, bins in ((np.ones((64, 64), bool), 64), (columns, 16), (columns.T, 16)):
        variance, count = _background_tiles(np.where(mask, noise, 0), mask)
        assert count == bins
        assert variance.mean() == pytest.approx(0.7**2, rel=0.05)
    scattered = np.random.default_rng(0).random((64, 64)) < 0.5
    assert not _background_tiles(np.where(scattered, noise, 0), scattered)[0].size


@pytest.mark.parametrize(("size", "bins"), [((128, 128), 327), ((64, 63), 80), ((39, 40), 64)])
def test_the_outermost_bins_are_the_farthest_two_per_cent_or_64(size, bins):
    """By k-space whose power per part is the squared distance from DC, in half axes."""
    height, width = size
    y = (np.arange(height) - height // 2) / (height / 2)
    x = (np.arange(width) - width // 2) / (width / 2)
    distance = np.sqrt(y[:, None] ** 2 + x**2)
    variance, count = _outermost_bins((distance * (1 + 1j))[None])
    assert count == bins
    assert variance == pytest.approx([np.sort(distance.ravel() ** 2)[-bins:].mean()])


def test_bins_within_the_ellipse_are_none_of_the_outermost():
    """Of 20 x 16 bins fewer than 64 lie beyond 90 % of the half axes."""
    y, x = (np.arange(20) - 10) / 10, (np.arange(16) - 8) / 8
    squares = y[:, None] ** 2 + x**2
    centre = np.where(squares <= 1, 1 + 1j, 0)
    _, count = _outermost_bins(centre[None])
    assert count == ((squares <= 1) & (squares > 0.81)).sum()
    assert 16 < count < 64


@pytest.mark.parametrize("bins", [16, 64])
@pytest.mark.parametrize(("reach", "low"), [(2, 0.1), (3, 0.01)])
def test_the_quietest_groups_are_those_of_one_white_noise(bins, reach, low):
    """Pure noise comes out a tenth of a group's deviation low; louder groups beside it do not change that."""
    rng = np.random.default_rng(0)
    variances = rng.gamma(bins, 1 / bins, 100_000)  # of `bins` complex numbers, per part
    level, error = _quietest(variances, bins, reach)
    assert error == pytest.approx(bins**-0.5)
    assert (1 - level) / error == pytest.approx(low, abs=0.02)
    louder = np.concatenate((variances, 10 * variances))
    assert _quietest(louder, bins, reach)[0] == pytest.approx(level, rel=1e-3)
    assert _quietest(np.zeros(0), bins, reach)[0] == np.inf
