"""A volume with a guide: on the scan's own grid, as the data of inference, and within bounds."""

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.pipeline import volume
from mri_iahvae.pipeline.volume import reconstruct_volume

INNER = (..., block(48, 32), slice(4, 36))  # the model's grid in 48 x 40


@pytest.fixture
def kspace(rng):
    """complex64 (3, 48, 40), beyond the model's grid on both axes, energy falling with frequency."""
    y, x = np.ogrid[-24:24, -20:20]
    noise = rng.normal(size=(3, 48, 40)) + 1j * rng.normal(size=(3, 48, 40))
    return (1e-4 * noise / (1 + y**2 + x**2)).astype(np.complex64)


@pytest.fixture
def mask(rng):
    mask = rng.random(40) < 0.4
    mask[17:23] = True
    return mask


def run(model, guide, kspace, mask, method="hybrid", *, samples=0, **options):
    settings = InferenceSettings(method, steps=2, samples=samples)
    return reconstruct_volume(model, kspace, mask, settings, guide=guide, **options)


@pytest.mark.parametrize("method", ["guide", "amortized", "hybrid"])
def test_nothing_but_padding_is_left_zero(model, guide, kspace, mask, method):
    padded = kspace.copy()
    padded[..., :3] = padded[..., 37:] = 0
    result = run(model, guide, padded, mask, method, acquired=(3, 37))
    assert np.array_equal(result.kspace[..., mask], padded[..., mask])
    assert (result.kspace[..., 3:37] != 0).all()
    assert not result.kspace[..., :3].any()
    assert not result.kspace[..., 37:].any()
    assert result.fractions["zero"] == pytest.approx((~mask[np.r_[:3, 37:40]]).sum() / 40, abs=1e-6)
    assert sum(result.fractions.values()) == pytest.approx(1)


def test_the_guide_alone_takes_no_steps_of_the_hierarchy(model, guide, kspace, mask, monkeypatch):
    monkeypatch.setattr(volume, "infer", None)
    settings = InferenceSettings("guide", symmetries=1)
    result = reconstruct_volume(model, kspace, mask, settings, guide=guide)
    known = torch.from_numpy(np.broadcast_to(mask, kspace.shape).copy())
    expected = guide(torch.from_numpy(kspace), known, torch.zeros(3)).kspace.numpy()
    np.testing.assert_allclose(result.kspace, expected, atol=1e-5 * np.abs(kspace).max())
    assert not result.steps.any()
    assert not result.bounded.any()


def test_beyond_the_grid_the_hierarchy_adds_nothing(model, guide, kspace, mask):
    alone, hybrid = (run(model, guide, kspace, mask, method).kspace for method in ("guide", "hybrid"))
    assert not np.allclose(hybrid[INNER], alone[INNER], rtol=1e-3)
    hybrid[INNER] = alone[INNER] = 0
    assert np.array_equal(hybrid, alone)


@pytest.mark.parametrize("method", ["iterative", "paper"])
def test_methods_without_guide_do_not_look_at_it(model, guide, kspace, mask, method):
    found, expected = (run(model, which, kspace, mask, method) for which in (guide, None))
    assert np.array_equal(found.image, expected.image)


def test_without_a_guide(model, kspace, mask):
    with pytest.raises(UsageError, match="method guide: the checkpoint has no guide"):
        run(model, None, kspace, mask, "guide")
    result = run(model, None, kspace, mask)
    result.kspace[INNER] = 0
    assert not result.kspace[..., ~mask].any()


def test_samples_differ_where_nothing_was_measured_on_all_of_the_grid(model, guide, kspace, mask):
    result = run(model, guide, kspace, mask, samples=4)
    assert (result.std > 0).all()
    # A pair of samples is antithetic beyond the model's grid, where the guide's error alone is drawn.
    alone = run(model, guide, kspace, mask, "guide").kspace
    result.kspace[INNER] = alone[INNER] = 0
    np.testing.assert_allclose(result.kspace, alone, atol=1e-5 * np.abs(kspace).max())


def test_slices_of_which_nothing_is_measured_are_samples_of_the_prior(model, guide, kspace, mask):
    masks = np.broadcast_to(mask, (3, 48, 40)).copy()
    masks[1] = False
    result = run(model, guide, kspace, masks)
    assert result.unmeasured.tolist() == [False, True, False]
    assert result.kspace[1][INNER].any()
    assert np.isfinite(result.image).all()


def test_what_the_guide_makes_of_a_slice_is_bounded(model, kspace, mask):
    torch.manual_seed(0)
    wild = Guide(GuideConfig(1, (4, 8), 1)).eval().requires_grad_(requires_grad=False)
    torch.nn.init.normal_(wild.steps[0].image.weight, std=1e6)
    result = run(model, wild, kspace, mask)
    assert result.bounded.all()
    assert any("out of bounds" in warning for warning in result.warnings)
    measured = np.where(mask, kspace, 0)
    assert np.square(np.abs(result.kspace)).sum() < 20 * np.square(np.abs(measured)).sum()
