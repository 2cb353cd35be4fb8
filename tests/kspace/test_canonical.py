import cmath

import numpy as np
import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.canonical import canonical_factor, per_bin_power
from mri_iahvae.kspace.masks import column_mask

ALL = torch.ones(1, 1, 1, dtype=torch.bool)


def canonical(kspace, mask, power):
    return kspace / canonical_factor(kspace, mask, power)[:, None, None]


def training_power(kspace):
    """Mean power per bin in canonical units: it sums to N^2 over B_8."""
    size = kspace.shape[-1]
    energy = kspace.abs().square()
    core = (energy * block_mask(8, size)).sum(dim=(1, 2), keepdim=True)
    return (energy / core).mean(dim=0) * size**2


@pytest.fixture
def power(phantoms):
    return training_power(phantoms[12:])


@pytest.fixture
def slices(phantoms):
    return phantoms[:12]


def test_mean_pixel_power_is_about_one_and_dc_is_positive(slices, power):
    units = canonical(slices, ALL, power)
    mean_power = units.abs().square().mean(dim=(1, 2))
    assert torch.all((mean_power > 1) & (mean_power < 1.1))  # all of B_8 gives 1, the rest adds a little
    dc = units[:, 32, 32]
    assert torch.all(dc.real > 0)
    assert torch.all(dc.imag.abs() < 1e-5 * dc.real)


@pytest.mark.parametrize("scale", [1e-24, 1e-12, 1e-6, 1e6, 1e12, 1e24])
@pytest.mark.parametrize("angle", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_scanner_units_and_global_phase_do_not_matter(slices, power, scale, angle, acceleration):
    mask = torch.from_numpy(column_mask(64, acceleration, 0.08, "random", "scan"))
    expected = canonical(slices, mask, power)
    scaled = (slices.to(torch.complex128) * cmath.rect(scale, angle)).to(torch.complex64)
    torch.testing.assert_close(canonical(scaled, mask, power), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("acceleration", "center_fraction"), [(4, 0.08), (8, 0.04)])
def test_an_undersampled_slice_gets_nearly_the_form_of_the_full_one(
    slices, power, acceleration, center_fraction
):
    full = canonical_factor(slices, ALL, power).abs()
    names = [f"scan {i}" for i in range(len(slices))]
    drawn = [column_mask(64, acceleration, center_fraction, "random", name) for name in names]
    masks = torch.from_numpy(np.stack(drawn))
    assert not masks[:, 28:36].all()  # some columns of B_8 are missing
    partial = canonical_factor(slices, masks[:, None], power).abs()
    assert (partial / full - 1).abs().mean() < 0.02


def test_values_at_unmeasured_bins_are_ignored(slices, power):
    mask = torch.from_numpy(column_mask(64, 4, 0.08, "random", "scan"))
    spoiled = torch.where(mask, slices, torch.nan)
    assert torch.equal(canonical_factor(spoiled, mask, power), canonical_factor(slices, mask, power))


def test_dc_decides_down_to_one_per_cent_of_the_core_energy():
    kspace = torch.zeros(2, 16, 16, dtype=torch.complex64)
    kspace[:, 8, 9] = 1.0
    kspace[:, 8, 8] = torch.tensor([0.11j, 0.09j])  # |DC|^2 is 1.2 % and 0.8 % of the energy
    factor = canonical_factor(kspace, ALL, torch.ones(16, 16))
    assert factor[0].angle() == pytest.approx(cmath.pi / 2, abs=1e-5)
    assert factor[1].angle() == pytest.approx(cmath.phase(1 + 0.09j), abs=1e-5)


def test_without_the_core_the_whole_grid_sets_the_scale(slices, power):
    outside = ~block_mask(8, 64)
    factor = canonical_factor(slices, outside, power)
    energy = ((slices.abs() / factor.abs()[:, None, None]).square() * outside).sum(dim=(1, 2))
    torch.testing.assert_close(energy, (power * outside).sum().expand(len(slices)), rtol=1e-4, atol=0.0)
    assert torch.all(factor.real > 0)
    assert torch.all(factor.imag == 0)


@pytest.mark.parametrize("leakage", [0.0, 1e-12, 1e-6, 1e-3])
def test_a_nearly_empty_core_sets_no_scale(slices, power, leakage):
    """As where DC lies off centre: units of what is left in the core would make the rest huge."""
    kspace = torch.where(block_mask(8, 64), leakage * slices, slices)
    factor = canonical_factor(kspace, ALL, power).abs()
    level = kspace.abs().square().sum(dim=(1, 2)) / power.sum()
    torch.testing.assert_close(factor, level.sqrt(), rtol=1e-4, atol=0.0)


def test_nor_does_a_single_bin_of_it_out_of_proportion(slices, power):
    mask = ~block_mask(8, 64)
    mask[28, 28] = True  # its corner
    kspace = slices.clone()
    kspace[:, 28, 28] = 1e3 * slices.abs().amax(dim=(1, 2))
    seen = torch.where(mask, kspace, 0)
    level = seen.abs().square().sum(dim=(1, 2)) / power[mask].sum()
    torch.testing.assert_close(canonical_factor(kspace, mask, power).abs(), level.sqrt(), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 2.0])
def test_strong_noise_leaves_the_scale_to_the_core(slices, power, sigma):
    """Sigma per part over the slice's RMS."""
    parts = torch.randn(*slices.shape, 2, generator=torch.Generator().manual_seed(0))
    rms = slices.abs().square().mean(dim=(1, 2), keepdim=True).sqrt()
    kspace = slices + sigma * rms * torch.view_as_complex(parts)
    energy = (canonical(kspace, ALL, power).abs().square() * block_mask(8, 64)).sum(dim=(1, 2))
    torch.testing.assert_close(energy, torch.full_like(energy, 64.0**2), rtol=1e-4, atol=0.0)


def test_nothing_measured_and_nothing_there_give_one(slices, power):
    one = torch.ones(len(slices), dtype=torch.complex64)
    assert torch.equal(canonical_factor(slices, ~ALL, power), one)
    assert torch.equal(canonical_factor(torch.zeros_like(slices), ALL, power), one)


def test_grids_smaller_than_the_core_use_all_they_have():
    kspace = torch.randn(3, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    units = canonical(kspace, ALL, torch.ones(4, 4))
    torch.testing.assert_close(units.abs().square().mean(dim=(1, 2)), torch.ones(3))


def test_per_bin_power_is_the_core_inside_and_squared_gains_outside():
    core = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    gains = torch.tensor([9.0, 9.0, 9.0, 9.0, 3.0, 0.5])  # R_1 ... R_32
    power = per_bin_power(core, gains)
    assert power.shape == (32, 32)
    torch.testing.assert_close(power[12:20, 12:20], core)
    torch.testing.assert_close(power.sum(), core.sum() + (256 - 64) * 9.0 + (1024 - 256) * 0.25)
    assert power[8, 8] == 9.0  # the corner of B_16
    assert power[0, 0] == 0.25
