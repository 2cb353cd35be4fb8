"""What a model knows: the statistic by hand, what it does not depend on, and where it is not defined."""

import json
import math
from dataclasses import replace

import pytest
import torch

from mri_iahvae.errors import CheckpointError
from mri_iahvae.kspace.bands import band_mask, block_mask, crop
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.image_texture import log_texture
from mri_iahvae.model.domain import JUDGED, Domain, log_residuals
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import posterior_pass

DOMAIN = Domain("head; T1", 100, mean=(-3.0, -2.0, -1.0), deviation=(0.5, 1.0, 2.0), limit=(2.0, 1.5, 1.2))
TEXTURED = replace(DOMAIN, texture=(-1.5, -3.0))
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture
def slices(model, noise):
    """k-space of 40 slices of the model's own power, complex64 (40, N, N)."""
    parts = torch.randn(40, model.size, model.size, 2, generator=noise)
    return torch.view_as_complex(parts) * model.power.sqrt()


def fit(model, kspace, mask=None, sigma=0.0, domain=DOMAIN):
    mask = torch.ones(model.size, model.size, dtype=torch.bool) if mask is None else mask
    return domain.score(model, kspace, mask.expand(kspace.shape), torch.full((len(kspace),), float(sigma)))


def residuals(model, kspace):
    """Of fully sampled slices in their own units."""
    everything = torch.ones(kspace.shape, dtype=torch.bool)
    factor = canonical_factor(kspace, everything, model.power)[:, None, None]
    return log_residuals(model, kspace / factor), factor[:, 0, 0].abs()


@pytest.mark.parametrize("untrained", [True, False])
def test_the_residual_is_that_of_posterior_means_given_the_true_coarser_bins(model, kspace, untrained):
    """Relative to the band's gain; that of a fresh model, whose heads predict zero, is the band's energy."""
    model = IAHVAE(model.config) if untrained else model
    taught = posterior_pass(model, kspace, teacher=torch.ones(2, dtype=torch.bool))
    found = log_residuals(model, kspace)
    assert found.shape == (2, 3)
    for column, s in enumerate(JUDGED):
        ring, gain = band_mask(s), model.gains[int(math.log2(s))]
        error = crop(kspace - (0 if untrained else taught.bins), s)[:, ring].abs().square().mean(dim=1)
        torch.testing.assert_close(found[:, column], (error / gain**2).log(), rtol=1e-4, atol=1e-4)


def test_the_fit_by_hand(model, slices):
    found, _ = residuals(model, slices)
    first, second, third = ((found - torch.tensor(DOMAIN.mean)) / torch.tensor(DOMAIN.deviation)).T
    up_to_8, up_to_16 = (first + second) / 2 / 1.5, (first + second + third) / 3 / 1.2
    torch.testing.assert_close(fit(model, slices), torch.maximum(up_to_8, up_to_16), **CLOSE)
    # The canonical factor sees B_8 only; of a grid that is measured up to 4x4 it is another one.
    torch.testing.assert_close(fit(model, slices, block_mask(8, model.size)), up_to_8, **CLOSE)
    mask = block_mask(4, model.size)
    factor = canonical_factor(slices, mask.expand(slices.shape), model.power)[:, None, None]
    expected = (log_residuals(model, slices / factor)[:, 0] + 3.0) / 0.5 / 2.0
    torch.testing.assert_close(fit(model, slices, mask), expected, **CLOSE)


def test_the_fit_does_not_depend_on_units_or_what_lies_outside_whole_blocks(model, slices, noise):
    mask = block_mask(8, model.size) | (torch.rand(model.size, model.size, generator=noise) < 0.3)
    mask[model.size // 2 + 5, model.size // 2 + 5] = False  # B_16 is not whole
    expected = fit(model, slices, mask)
    other = torch.where(mask, slices, math.nan) * 3e-6j
    torch.testing.assert_close(fit(model, other, mask), expected, **CLOSE)
    outside = torch.where(block_mask(8, model.size), slices, 3 * slices.roll(1, 0))
    torch.testing.assert_close(fit(model, outside, mask), expected, **CLOSE)
    whole = torch.where(block_mask(8, model.size), slices, 7 * slices)
    assert not torch.isclose(fit(model, whole), fit(model, slices), rtol=1e-2).any()


def test_a_flat_object_lies_outside_where_the_whole_grid_is_measured(model, slices):
    at = 2 * math.pi * torch.arange(model.size) / model.size
    shaded = (1 + 0.02 * at.cos()).expand(model.size, -1)  # a bottle of water
    flat = fft2c(shaded.to(torch.complex64))[None].expand(2, -1, -1).clone()
    # Coarse bands that are well explained, as those of a phantom may be.
    tolerant = replace(TEXTURED, mean=(99.0, 99.0, 99.0))
    expected = (-1.5 - log_texture(flat)) / 1.5
    assert (expected > 1).all()
    torch.testing.assert_close(fit(model, 2e-6 * flat, domain=tolerant), expected, **CLOSE)
    gone = torch.ones(2, model.size, model.size, dtype=torch.bool)
    gone[0, 0, 3] = False  # one bin
    assert (fit(model, flat, gone, domain=tolerant) > 1).tolist() == [False, True]
    # What is strange by its residual stays so, whatever its texture.
    expected = fit(model, slices).maximum((-1.5 - log_texture(slices)) / 1.5)
    torch.testing.assert_close(fit(model, slices, domain=TEXTURED), expected, **CLOSE)


def test_a_measured_domain_holds_its_own_slices(model, slices):
    domain = Domain.measure(model, 1e-5 * slices, " head;\n T1 ")
    assert (domain.description, domain.slices) == ("head; T1", 40)
    found, _ = residuals(model, slices)
    assert domain.mean == pytest.approx(found.mean(dim=0).tolist(), rel=1e-4)
    assert domain.deviation == pytest.approx(found.std(dim=0).tolist(), rel=1e-3)
    excess = (found - found.mean(dim=0)) / found.std(dim=0)
    limit = [float(excess[:, :count].mean(dim=1).quantile(0.99)) for count in (1, 2, 3)]
    assert domain.limit == pytest.approx(limit, rel=1e-3)
    textures = log_texture(slices)
    texture = float(textures.mean()), float(textures.quantile(0.005))
    assert domain.texture == pytest.approx(texture, rel=1e-3)
    inside = fit(model, slices, domain=domain)
    assert int((inside > 1).sum()) in (2, 3)  # at most one beyond each of three limits, and the flattest
    assert abs(float(inside.mean())) < 0.7  # the largest of three that are 0 on average
    strange = torch.where(block_mask(8, model.size), slices, 3 * slices)  # too much energy in band 16
    assert (fit(model, strange, domain=domain) > 1).all()


def test_noise_that_is_known_is_not_strange(model, slices):
    found, factor = residuals(model, slices)
    level = 2 * (0.3 / factor[:, None]).square() / model.gains[[2, 3, 4]].square()
    excess = (found - (torch.tensor(DOMAIN.mean).exp() + level).log()) / torch.tensor(DOMAIN.deviation)
    expected = torch.maximum(excess[:, :2].mean(dim=1) / 1.5, excess.mean(dim=1) / 1.2)
    known = fit(model, slices, sigma=0.3)
    torch.testing.assert_close(known, expected, **CLOSE)
    assert (known < fit(model, slices)).all()


def test_where_the_fit_is_not_defined(model, slices):
    """Without a measured centre, and without signal."""
    centre = block_mask(4, model.size)
    centre[model.size // 2 + 1, model.size // 2] = False
    assert fit(model, slices, centre).isnan().all()
    assert fit(model, slices, torch.zeros_like(centre)).isnan().all()
    slices[3] = 0
    for domain in (DOMAIN, TEXTURED):
        assert fit(model, slices, domain=domain).isnan().nonzero().tolist() == [[3]]


def test_json():
    """Also of domains from before textures were measured."""
    for domain in (DOMAIN, TEXTURED):
        assert Domain.from_json(json.loads(json.dumps(domain.to_json()))) == domain
    earlier = {key: value for key, value in DOMAIN.to_json().items() if key != "texture"}
    assert Domain.from_json(earlier) == DOMAIN


@pytest.mark.parametrize(
    "change",
    [{"limit": [1.0, 0.0, 1.0]}, {"deviation": [1.0, math.nan, 1.0]}, {"mean": 3},
     {"slices": "many"}, {"limit": ["a" * 9999, 1, 2]}, {"other": 1}, {"mean": [1.0, 2.0]},
     {"texture": [-1.0]}, {"texture": [-1.0, -1.0]}, {"texture": [-1.0, -math.inf]}, {"texture": "no"}],
)  # fmt: skip
def test_a_malformed_domain_is_refused(change):
    with pytest.raises(CheckpointError, match=r"^the domain is malformed .{1,210}$"):
        Domain.from_json({**DOMAIN.to_json(), **change})
    with pytest.raises(CheckpointError, match="the domain is malformed"):
        Domain.from_json(None)
