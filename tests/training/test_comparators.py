"""The objective on what the paper compares with: the same likelihood, and terms that mean the same."""

import pytest
import torch

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.training.masks import random_masks
from mri_iahvae.training.module import validation_scores
from mri_iahvae.training.objective import (
    complete,
    completion_ratio,
    masked_ratio,
    posterior_pass,
    squared_error,
)
from mri_iahvae.training.statistics import canonical_batch

KINDS = {
    "bottom-up": {"encoder": "bottom-up"},
    "spectral": {"heads": "spectral"},
    "ordinary": {"encoder": "bottom-up", "decoder": "ordinary"},
}


@pytest.fixture(params=KINDS)
def model(request, make_model):
    return make_model(16, **KINDS[request.param])


@pytest.fixture
def kspace(blobs):
    return canonical_batch(blobs, 16)


def test_the_elbo_trains_everything(model, kspace, noise):
    passed = posterior_pass(model, kspace, noise)
    assert len(passed.error) == len(passed.kl) == len(model.scales)
    torch.testing.assert_close(passed.error.sum(0), squared_error(passed.bins, kspace))
    assert (passed.kl > 0).all()
    assert validation_scores(model, kspace, 0.2, noise)["kl"].shape == (8, len(model.scales))
    passed.negative_elbo(0.3).backward()
    trained = {
        name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()
    }
    untrained = {name for name, _ in model.named_parameters()} - trained
    assert all(name.startswith("decoder.4.layers") for name in untrained), untrained


def test_a_block_is_all_that_completion_sees(model, kspace, noise):
    """It trains a bottom-up encoder for blocks, and leaves a scale-causal one alone."""
    changed = kspace + ~block_mask(4, 16) * torch.randn(8, 16, 16, generator=noise)
    assert torch.equal(complete(model, kspace, 4), complete(model, changed, 4))
    completion_ratio(model, kspace, 4).sum().backward()
    trained = any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())
    assert trained != model.encoder.causal


@torch.no_grad()
def test_masked_ratio_never_sees_unmeasured_bins(model, kspace, noise):
    """Its prediction b does not depend on them: sum |b - k|^2 is then exactly quadratic in them."""
    mask = random_masks(8, 16, noise)
    change = ~mask * torch.randn(8, 16, 16, generator=noise) * (1 + 2j)
    energy = (model.power * ~mask).sum(dim=(1, 2))
    plus, zero, minus = (masked_ratio(model, kspace + sign * change, mask) * energy for sign in (1, 0, -1))
    expected = 2 * change.abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(plus + minus - 2 * zero, expected, rtol=1e-3, atol=0)
    seen = masked_ratio(model, kspace + mask * torch.randn(8, 16, 16, generator=noise), mask) * energy
    assert not torch.isclose(seen, zero).any()
