"""The coarse prior in the reconstruction of a volume."""

import numpy as np
import pytest
import torch

from mri_iahvae.inference import core as inference_core
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.pipeline.volume import reconstruct_volume
from tests.model.test_mixture import random_mixture

PRIOR = CoarsePrior(random_mixture(3, 128))
ITERATIVE = InferenceSettings("iterative", steps=1)


@pytest.fixture
def reconstruct(checkpoint, head_kspace):
    model, _ = load_model(checkpoint)
    kspace = head_kspace()

    def run(up_to, coarse, settings=ITERATIVE, **options):
        return reconstruct_volume(model, kspace, None, settings, up_to=up_to, coarse=coarse, **options)

    return run


def core(result):
    return result.kspace[:, 12:20, 12:20]


@pytest.fixture
def always(monkeypatch):
    """The prior of these tests knows next to nothing of heads."""
    monkeypatch.setattr(inference_core, "LEAST_KNOWN", 0.0)


def test_missing_bins_of_the_block_are_its_prior_s(reconstruct, always):
    before, after = (reconstruct(2, coarse) for coarse in (None, PRIOR))
    inner = block_mask(2, 32).numpy()
    assert np.array_equal(before.kspace[:, inner], after.kspace[:, inner])
    data = torch.from_numpy(np.where(inner, after.kspace, 0)[:, 12:20, 12:20])
    variance = torch.where(block_mask(2, 8), 0.0, torch.inf)
    first = reconstruct(2, None).factors  # canonical form of what was measured
    for block, factor, found in zip(data, first, core(after), strict=True):
        mean, _ = PRIOR.posterior(block / complex(factor), variance).moments()
        np.testing.assert_allclose(
            found, mean.numpy() * complex(factor), rtol=1e-3, atol=1e-3 * np.abs(found).max()
        )
    assert not np.allclose(core(before), core(after), rtol=0.1)


@pytest.mark.parametrize(
    ("up_to", "method"), [(8, "iterative"), (None, "iterative"), (2, "paper"), (16, "amortized")]
)
def test_where_the_block_is_known_nothing_changes(reconstruct, up_to, method):
    """Nor does the paper's method."""
    settings = InferenceSettings(method, steps=1)
    before, after = (reconstruct(up_to, coarse, settings) for coarse in (None, PRIOR))
    assert np.array_equal(before.kspace, after.kspace)
    assert np.array_equal(before.factors, after.factors)


def test_samples_differ_in_the_block(reconstruct, always):
    settings = InferenceSettings("iterative", steps=1, samples=2)
    result = reconstruct(2, PRIOR, settings, keep_samples=True)
    assert result.std is not None
    assert (result.std > 0).all()
    again = reconstruct(2, PRIOR, settings, keep_samples=True, batch=1)
    np.testing.assert_allclose(
        again.samples, result.samples, rtol=0, atol=1e-3 * np.abs(result.samples).max()
    )
