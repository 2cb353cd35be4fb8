import numpy as np
import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.noise_estimate import _quietest, estimate_sigma

ALL = torch.ones(1, 1, dtype=torch.bool)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return complex_noise(shape, 0.7, generator(seed))


def columns(width):
    return torch.from_numpy(column_mask(width, 4, 0.08, "random", "scan"))


def estimate(kspace, mask=ALL):
    return estimate_sigma(kspace.numpy(), mask.numpy())


@pytest.mark.parametrize("kind", ["all", "columns", "rows", "bins"])
def test_estimate_on_pure_noise_is_unbiased(kind):
    lines = columns(128).expand(128, 128)
    bins = torch.rand(128, 128, generator=generator()) < 0.25
    mask = {"all": ALL, "columns": lines, "rows": lines.T, "bins": bins}[kind]
    estimates = [estimate(noise(8, 128, 128, seed=i), mask) for i in range(10)]
    assert sum(estimates) / 10 == pytest.approx(0.7, rel=0.02)
    if kind == "all":
        assert estimates == pytest.approx([0.7] * 10, rel=0.05)


@pytest.mark.parametrize("size", [(65, 64), (64, 37), (33, 31), (20, 17), (7, 150)])
def test_estimate_on_pure_noise_of_any_size(size):
    assert estimate(noise(24, *size)) == pytest.approx(0.7, rel=0.03)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_estimate_follows_the_units(phantoms, scale):
    noisy = phantoms + complex_noise(tuple(phantoms.shape), 0.1, generator())
    assert estimate(noisy * scale) == pytest.approx(estimate(noisy) * scale, rel=1e-5)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_estimate_follows_the_truth(phantoms, level, acceleration):
    sigma = level * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    mask = ALL if acceleration == 1 else columns(64)
    assert estimate(noisy, mask) == pytest.approx(sigma, rel=0.05)
    single = [estimate(noisy[i : i + 1], mask) for i in range(len(noisy))]
    assert single == pytest.approx([sigma] * len(noisy), rel=0.2)


def test_without_background_the_edge_of_kspace_decides():
    """An object that fills the field of view, band-limited to the inner half of k-space."""
    anatomy = block_mask(32, 64) * complex_noise((8, 64, 64), 70.0, generator(1))
    assert estimate(noise(8, 64, 64) + anatomy) == pytest.approx(0.7, rel=0.05)


def test_a_background_set_to_zero_does_not_mean_that_there_is_no_noise():
    """Processed images have one; rounding and the edge of the object must not pass for noise."""
    axis = torch.linspace(-1, 1, 128)
    disc = axis[:, None].square() + axis.square() < 0.5
    assert 0.4 < estimate(fft2c((20 + noise(4, 128, 128)) * disc)) < 1.0


def test_in_a_centre_block_the_background_decides(phantoms):
    """`--up-to` leaves no edge, but an image of lower resolution."""
    sigma = 0.1 * float(rms(phantoms).median())
    noisy = phantoms + complex_noise(tuple(phantoms.shape), sigma, generator())
    assert estimate(noisy, block_mask(32, 64)) == pytest.approx(sigma, rel=0.1)


def test_anatomy_makes_the_estimate_too_high_but_not_by_much(phantoms):
    assert 0 < estimate(phantoms) < 0.002 * float(rms(phantoms).median())


def test_only_measured_bins_count():
    mask, bins = columns(64), noise(2, 64, 64)
    expected = estimate(bins, mask)
    assert estimate(torch.where(mask, bins, torch.nan), mask) == expected
    assert estimate(torch.where(mask, bins, 0), mask) == expected


def test_exact_zeros_and_slices_without_signal_do_not_count():
    bins = noise(4, 96, 80)
    padded = torch.zeros(4, 128, 128, dtype=torch.complex64)
    padded[:, 16:112, 24:104] = bins
    y, x = torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80)
    ellipse = y[:, None].square() + x.square() < 1
    for kspace, mask in [
        (padded, ALL),
        (bins * ellipse, ALL),
        (bins * ellipse, ellipse),
        (bins * ellipse, columns(80)[None]),
    ]:
        assert estimate(kspace, mask) == pytest.approx(0.7, rel=0.03)
    empty = torch.zeros(30, 96, 80)
    assert estimate(torch.cat((empty, bins))) == pytest.approx(estimate(bins))


def test_too_few_bins_or_nothing_but_zeros_give_zero():
    bins = noise(2, 64, 64)
    assert estimate(bins, block_mask(16, 64)) == 0
    assert estimate(bins, ~ALL) == 0
    assert estimate(bins[:, :3, :3]) == 0
    for size in [(64, 64), (33, 31), (1, 1), (1, 40)]:
        assert estimate(torch.zeros(2, *size, dtype=torch.complex64)) == 0


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
