"""The objective on what the paper compares with: the same likelihood, and terms that mean the same."""

import pytest
import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.training.masks import random_masks
from mri_iahvae.training.module import validation_scores
from mri_iahvae.training.objective import (
    block_context,
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


def test_errors_sum_to_that_of_the_image(model, kspace, noise):
    passed = posterior_pass(model, kspace, noise)
    torch.testing.assert_close(passed.error.sum(0), squared_error(passed.bins, kspace))
    if model.config.decoder == "ordinary":
        assert passed.error[:-1].abs().max() == 0
    assert (passed.kl > 0).all()


def test_the_elbo_trains_everything(model, kspace, noise):
    posterior_pass(model, kspace, noise).negative_elbo(0.3).backward()
    silent = [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    last = (
        len(model.decoder) - 1
    )  # what follows the last context of an ordinary HVAE's coarser scales is its next one
    assert not [name for name in silent if not name.startswith(f"decoder.{last}.layers")], silent


def test_a_block_is_all_that_completion_sees(model, kspace, noise):
    changed = kspace.clone()
    changed[:, :4] += torch.randn(8, 4, 16, generator=noise)
    assert torch.equal(block_context(model, kspace, 2), block_context(model, changed, 2))
    # Squared errors of a prediction that is the same.
    ratio = completion_ratio(model, kspace, 2, block_context(model, kspace, 2))
    assert not torch.isclose(
        ratio, completion_ratio(model, changed, 2, block_context(model, kspace, 2))
    ).any()


def test_completion_trains_a_bottom_up_encoder_for_blocks(model, kspace):
    completion_ratio(model, kspace, 2, block_context(model, kspace, 2)).sum().backward()
    trained = any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())
    assert trained == (model.config.encoder == "bottom-up")


def test_masked_ratio_never_sees_unmeasured_bins(model, kspace, noise):
    """Its prediction b does not depend on them: sum |b - k|^2 is then exactly quadratic in them."""
    mask = random_masks(8, 16, noise)
    change = ~mask * torch.randn(8, 16, 16, generator=noise) * (1 + 2j)
    energy = (model.power * ~mask).sum(dim=(1, 2))
    plus, zero, minus = (masked_ratio(model, kspace + sign * change, mask) * energy for sign in (1, 0, -1))
    torch.testing.assert_close(
        plus + minus - 2 * zero, 2 * change.abs().square().sum(dim=(1, 2)), rtol=1e-3, atol=0
    )


@torch.no_grad()
def test_validation_scores(model, kspace):
    scores = validation_scores(model, kspace, 0.2, torch.Generator().manual_seed(3))
    sampled = posterior_pass(model, kspace, torch.Generator().manual_seed(3))
    torch.testing.assert_close(scores["elbo_loss"].mean(), sampled.negative_elbo(0.2))
    energy = [squared_error(crop(kspace, s), 0 * crop(kspace, s)) for s in (1, 2, 4, 8, 16)]
    bands = torch.diff(torch.stack(energy), dim=0, prepend=torch.zeros(1, 8))
    torch.testing.assert_close(
        (scores["error"].T * bands).sum(0), squared_error(sampled.bins, kspace), rtol=1e-3, atol=1e-3
    )
    assert scores["completion"].shape == (8, 2)
