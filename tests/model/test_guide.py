"""The guide: data consistency, units, sizes and independence, whatever its weights are."""

import pytest
import torch

from mri_iahvae.kspace.bands import crop, embed
from mri_iahvae.kspace.octaves import OCTAVES, octaves
from mri_iahvae.model.guide import Guide, slice_unit
from mri_iahvae.model.guide_config import GuideConfig


@pytest.fixture(scope="module")
def guide():
    torch.manual_seed(0)
    guide = Guide(GuideConfig(steps=2, widths=(8, 8, 12), blocks=1))
    with torch.no_grad():
        for weight in guide.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return guide.eval().requires_grad_(requires_grad=False)


def measurement(size, seed=0):
    """k-space whose energy falls with frequency, and a mask of columns: complex64 and bool (2, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(2, *size, 2, generator=generator)
    y, x = ((torch.arange(n) - n // 2).square() for n in size)
    radius = y[:, None] + x
    columns = torch.rand(2, 1, size[1], generator=generator) < 0.4
    columns[..., size[1] // 2] = True
    return torch.view_as_complex(parts) / (1 + radius), columns.expand(2, *size)


@pytest.mark.parametrize("size", [(32, 32), (31, 24), (17, 45)])
def test_without_noise_measured_bins_are_kept(guide, size):
    kspace, mask = measurement(size)
    found, variance, _ = guide(kspace, mask, torch.zeros(2))
    assert found.shape == variance.shape == kspace.shape
    torch.testing.assert_close(found[mask], kspace[mask], rtol=1e-4, atol=1e-5)
    assert (found - kspace)[~mask].abs().max() > 1e-3
    assert not variance[mask].any()
    assert (variance[~mask] > 0).all()


def test_noisy_bins_move(guide):
    kspace, mask = measurement((32, 32))
    found, variance, _ = guide(kspace, mask, torch.full((2,), 0.5))
    assert (found - kspace)[mask].abs().mean() > 1e-3
    assert ((variance > 0) & (variance < 0.25))[mask].all()  # it knows more than the noisy datum says


def test_what_was_not_measured_is_ignored(guide):
    kspace, mask = measurement((32, 24))
    other = torch.where(mask, kspace, torch.full_like(kspace, 7.0))
    found, same = (guide(bins, mask, torch.zeros(2)) for bins in (kspace, other))
    assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))


@pytest.mark.parametrize("unit", [1e-6, 1e5])
def test_units_do_not_matter(guide, unit):
    kspace, mask = measurement((32, 32))
    sigma = torch.tensor([0.0, 0.02])
    found, scaled = guide(kspace, mask, sigma), guide(unit * kspace, mask, unit * sigma)
    torch.testing.assert_close(scaled.kspace / unit, found.kspace, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scaled.variance / unit**2, found.variance, rtol=1e-2, atol=1e-5)


def test_batch_elements_are_independent(guide):
    kspace, mask = measurement((32, 32))
    sigma = torch.tensor([0.0, 0.1])
    both = guide(kspace, mask, sigma)
    for one in (0, 1):
        alone = guide(kspace[one : one + 1], mask[one : one + 1], sigma[one : one + 1])
        for found, expected in zip(alone, both, strict=True):
            torch.testing.assert_close(found[0], expected[one], rtol=1e-4, atol=1e-5)


def test_calibration_is_a_factor_on_the_variance(guide):
    kspace, mask = measurement((32, 24))
    sigma = torch.full((2,), 0.1)
    before = guide(kspace, mask, sigma).variance
    ring, factors = octaves(mask), 1 + torch.arange(2 * OCTAVES).reshape(2, OCTAVES) / 3
    guide.error.calibration.copy_(factors)
    after = guide(kspace, mask, sigma).variance
    guide.error.calibration.fill_(1.0)
    torch.testing.assert_close(after, before * torch.where(mask, factors[0][ring], factors[1][ring]))


def test_the_error_head_does_not_move_the_network():
    guide = Guide(GuideConfig(steps=1, widths=(4, 8), blocks=1))
    kspace, mask = measurement((16, 16))
    guide(kspace, mask, torch.full((2,), 0.1)).variance.log().sum().backward()
    moved = {name.split(".")[0] for name, weight in guide.named_parameters() if weight.grad is not None}
    assert moved == {"error"}


def test_the_unit_is_the_rms_of_the_centre():
    core = torch.randn(1, 16, 16, dtype=torch.complex64)
    kspace = embed(core, 40, 24)
    everything = torch.ones(1, 40, 24, dtype=torch.bool)
    expected = (core.abs().square().sum() / (40 * 24)).sqrt()
    torch.testing.assert_close(slice_unit(kspace, everything), expected[None])
    assert torch.equal(crop(kspace, 16, 16), core)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1.0), (3.0, 3.0)])
def test_the_unit_without_a_centre(value, expected):
    """All bins count where the centre holds nothing; 1 where there is nothing at all."""
    kspace = torch.zeros(1, 32, 32, dtype=torch.complex64)
    kspace[0, 0, 0] = value * 32
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    mask[:, 8:24, 8:24] = False
    assert slice_unit(kspace, mask).item() == pytest.approx(expected)


def test_the_configuration_survives_json():
    config = GuideConfig(steps=4, widths=(8, 16), blocks=1)
    assert GuideConfig.from_json(config.to_json()) == config
    assert config.multiple == 4
