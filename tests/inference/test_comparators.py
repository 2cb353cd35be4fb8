"""Inference with the comparators: an ordinary HVAE, and a bottom-up encoder under a separable decoder."""

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.training.objective import complete, masked_ratio, posterior_pass
from tests.inference.runs import COLUMNS, EVERYTHING, block, inference

KINDS = {"bottom-up": {"encoder": "bottom-up"}, "ordinary": {"encoder": "bottom-up", "decoder": "ordinary"}}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, make_model):
    """A comparator whose every weight matters."""
    return make_model(layers=1, **KINDS[request.param])


@pytest.fixture(scope="module")
def ordinary(make_model):
    return make_model(layers=1, **KINDS["ordinary"])


def run(model, kspace, mask, **options):
    return inference(model, kspace, mask, **{"data_consistency": "none", **options}).bins


def test_the_encoder_alone_is_the_pass_of_training(kind, kspace):
    found = run(kind, kspace, EVERYTHING, method="amortized")
    taught = posterior_pass(kind, kspace, teacher=torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(found, taught.bins, rtol=1e-4, atol=1e-4)


def test_training_with_missing_bins_is_inference_with_missing_bins(kind, kspace):
    found = run(kind, kspace, COLUMNS, method="amortized")
    error = (found - kspace).abs().square().sum(dim=(1, 2)) / kind.power[~COLUMNS[0]].sum()
    ratio = masked_ratio(kind, kspace, COLUMNS.expand(3, -1, -1))
    torch.testing.assert_close(ratio, error, rtol=1e-3, atol=0)


@pytest.mark.parametrize("s", [0, 4])
def test_training_on_blocks_is_inference_of_blocks(kind, kspace, s):
    found = run(kind, kspace, block(s), method="amortized", data_consistency="hard")
    torch.testing.assert_close(found, complete(kind, kspace, s), rtol=1e-4, atol=1e-4)


def test_all_latents_at_once_end_where_the_objective_is_flat(ordinary, kspace):
    """The gradient of J, written out, at the minimum that is found: every latent explains every measured bin."""
    found = inference(ordinary, kspace, COLUMNS, steps=100, data_consistency="none")
    assert (found.steps.shape, found.steps.dtype) == ((3, 1), torch.int64)  # of a single scale
    (scale,) = ordinary.scales

    def gradient(latents):
        latents = [e.detach().requires_grad_() for e in latents]
        bins = scale.bins(scale.run(scale.context(None, kspace[:, :0, :0]), latents))
        error = ((bins - kspace).abs().square() * COLUMNS).sum() / (2 * ordinary.sigma**2)
        total = error + sum(e.square().sum() for e in latents) / 2
        return bins.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(total, latents)])

    bins, final = gradient(found.latents[0])
    torch.testing.assert_close(bins, found.bins, rtol=1e-4, atol=1e-4)
    assert final.norm() < 0.02 * gradient([torch.zeros_like(e) for e in found.latents[0]])[1].norm()


def test_the_deviation_of_latents_is_the_encoders_where_the_bins_are_measured(ordinary, kspace):
    """And the prior's where none is, by resolution."""
    mask = (~block(8) | block(4) & COLUMNS).expand(3, -1, -1)
    (scale,), session = ordinary.scales, ordinary.encoder.begin(torch.where(mask, kspace, 0), mask)
    h, features = scale.context(None, kspace[:, :0, :0]), session.features(ordinary.scales[0], kspace)
    plain, partly = scale.encode(h, features), scale.encode(h, features, fraction=torch.ones(3))
    for k, (own, found) in enumerate(zip(plain.std, partly.std, strict=True)):
        ring = block_mask(2**k, 16) & ~block_mask(2**k // 2, 16)
        fraction = float(mask[0][ring].float().mean())
        torch.testing.assert_close(found.square(), fraction * own.square() + 1 - fraction)
        assert bool((found == 1).all()) == (k == 3)
        assert bool((partly.mean[k] == 0).all()) == (k == 3)


def test_algorithm_1_is_refused(ordinary, kspace):
    with pytest.raises(UsageError, match="method paper: this model's decoder is not separable"):
        run(ordinary, kspace, COLUMNS, method="paper")
