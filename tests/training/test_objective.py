import math
from dataclasses import replace

import pytest
import torch
from mri_iahvae.inference.engine import infer
from torch.distributions import Normal, kl_divergence

from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask, block_mask, crop, scales
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.iahvae import add_band
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


@pytest.fixture
def model(make_model):
    return make_model(16)


@pytest.fixture
def kspace(blobs):
    return canonical_batch(blobs, 16)


def silence(model, from_index=0):
    """Let the heads from a scale on predict zero."""
    with torch.no_grad():
        for index in range(from_index, len(model.decoder)):
            for p in model.stage(index).head.image.parameters():
                p.zero_()


def test_elbo_is_likelihood_minus_divergence(model, kspace):
    """Recomputed layer by layer with torch.distributions: 2 N^2 real dimensions, every bin two of them."""
    sigma = 0.3
    passed = posterior_pass(model, kspace, torch.Generator().manual_seed(2))
    noise = torch.Generator().manual_seed(2)
    h = features = None
    decoded, divergence = kspace[:, :0, :0], 0.0
    for index, s in enumerate(scales(16)):
        features = model.encode(index, crop(kspace, s), features)
        h = model.context(index, h, decoded)
        h, priors, posteriors, latents = model.amortize(index, h, features, noise)
        for q, p, z in zip(posteriors, priors, latents, strict=True):
            assert not torch.equal(z, q.mean)
            divergence += kl_divergence(Normal(q.mean, q.std), Normal(p.mean, p.std)).sum(dim=(1, 2, 3))
        decoded = add_band(decoded, model.band(index, h))
    torch.testing.assert_close(passed.bins, decoded)
    likelihood = sum(
        Normal(part(decoded), sigma).log_prob(part(kspace)).sum(dim=(1, 2))
        for part in (torch.real, torch.imag)
    )
    torch.testing.assert_close(passed.kl.sum(0), divergence, rtol=1e-4, atol=1e-3)
    expected = ((divergence - likelihood) / (2 * 16**2)).mean()
    torch.testing.assert_close(passed.negative_elbo(sigma), expected, rtol=1e-4, atol=1e-4)


def test_errors_of_the_bands_sum_to_that_of_the_image(model, kspace):
    passed = posterior_pass(model, kspace)
    torch.testing.assert_close(passed.error.sum(0), (passed.bins - kspace).abs().square().sum(dim=(1, 2)))
    for error, s in zip(passed.error, scales(16), strict=True):
        difference = crop(passed.bins - kspace, s)[:, band_mask(s)]
        torch.testing.assert_close(error, difference.abs().square().sum(1))


def test_information_flows_from_coarse_to_fine(model, kspace, noise):
    before = posterior_pass(model, kspace)
    for index, s in enumerate(scales(16)[:-1]):
        outside = ~block_mask(s, 16)
        after = posterior_pass(model, kspace + outside * complex_noise((8, 16, 16), 1.0, noise))
        assert torch.equal(crop(before.bins, s), crop(after.bins, s))
        for k, (a, b) in enumerate(zip(before.contexts, after.contexts, strict=True)):
            assert torch.equal(a, b) == (k <= index)


def test_a_pass_may_end_early(model, kspace):
    whole, part = posterior_pass(model, kspace), posterior_pass(model, kspace, last=2)
    assert torch.equal(part.bins, crop(whole.bins, 4))
    assert torch.equal(part.error, whole.error[:3])
    assert torch.equal(part.kl, whole.kl[:3])
    assert all(torch.equal(x, y) for x, y in zip(part.contexts, whole.contexts[:3], strict=True))


def test_teachers_show_the_true_coarser_bins(model, kspace):
    free, taught = (
        posterior_pass(model, kspace, teacher=torch.full((8,), fill_value=flag)) for flag in (False, True)
    )
    torch.testing.assert_close(free.bins, posterior_pass(model, kspace).bins)
    torch.testing.assert_close(free.error[0], taught.error[0])
    assert (free.error[1:] != taught.error[1:]).all()
    mixed = posterior_pass(model, kspace, teacher=torch.arange(8) < 3)
    torch.testing.assert_close(mixed.bins, torch.cat([taught.bins[:3], free.bins[3:]]), rtol=1e-3, atol=1e-3)


def test_a_head_answers_for_its_own_band_only(model, kspace):
    """Contexts see the coarser bins as they are given: finer bands do not train coarser heads."""
    for index in range(5):
        model.zero_grad()
        posterior_pass(model, kspace).error[index].sum().backward()
        for other in range(5):
            parameters = dict(model.stage(other).head.named_parameters())
            del parameters["image.bias"]  # a constant image is DC alone, which finer bands do not hold
            gradients = [p.grad for p in parameters.values()]
            trained = all(g is not None and g.abs().max() > 0 for g in gradients)
            silent = all(g is None or g.abs().max() == 0 for g in gradients)
            assert trained if other == index else silent


@pytest.mark.parametrize("index", [2, 3])
def test_zero_filling_has_completion_ratio_one(model, kspace, index):
    silence(model, index + 1)
    h = posterior_pass(model, kspace).contexts[index]
    ratio = completion_ratio(model, kspace, index, h)
    assert ratio.mean().item() == pytest.approx(1.0, rel=1e-4)  # gains were measured on these slices
    outside = ~block_mask(2**index, 16)
    energy = kspace[:, outside].abs().square().sum(1)
    torch.testing.assert_close(ratio / ratio.mean(), energy / energy.mean())


def test_completion_trains_the_finer_priors_only(model, kspace):
    h = block_context(model, kspace, 2)
    torch.testing.assert_close(h, posterior_pass(model, kspace).contexts[2])
    completion_ratio(model, kspace, 2, h).sum().backward()
    for name, weight in model.named_parameters():
        finer = name.startswith("decoder") and int(name.split(".")[1]) > 2
        trained = weight.grad is not None and bool(weight.grad.abs().max() > 0)
        assert trained == (finer and "posterior" not in name), name


def test_masked_ratio_of_a_silent_model_is_all_energy_over_that_of_the_holes(model, kspace, noise):
    silence(model)
    mask = random_masks(8, 16, noise)
    energy = kspace.abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(
        masked_ratio(model, kspace, mask), energy / (model.power * ~mask).sum(dim=(1, 2))
    )
    nothing = masked_ratio(model, kspace, torch.zeros(8, 16, 16, dtype=torch.bool))
    assert nothing.mean().item() == pytest.approx(1.0, rel=1e-4)  # powers were measured on these slices


def test_masked_ratio_never_sees_unmeasured_bins(model, kspace, noise):
    """Its prediction b does not depend on them: sum |b - k|^2 is then exactly quadratic in them."""
    mask = random_masks(8, 16, noise)
    change = ~mask * complex_noise((8, 16, 16), 3.0, noise)
    energy = (model.power * ~mask).sum(dim=(1, 2))
    plus, zero, minus = (masked_ratio(model, kspace + sign * change, mask) * energy for sign in (1, 0, -1))
    torch.testing.assert_close(
        plus + minus - 2 * zero, 2 * change.abs().square().sum(dim=(1, 2)), rtol=1e-3, atol=0
    )
    seen = masked_ratio(model, kspace + mask * complex_noise((8, 16, 16), 1.0, noise), mask) * energy
    assert not torch.isclose(seen, zero).any()


def test_masked_ratio_is_the_error_of_one_fill_round(model, kspace):
    """At inference, amortized; where every band is measured in part."""
    with torch.no_grad():
        for layer in (layer for index in range(5) for layer in model.layers(index)):
            layer.posterior_block.expand.weight.mul_(100)  # what the encoder sees must matter
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[..., [0, 3, 4, 7, 8, 9, 13]] = True

    def inferred(rounds):
        settings = InferenceSettings(method="amortized", imputation_rounds=rounds, data_consistency="none")
        rows = [Row(k) for k in range(8)]
        result = infer(model, kspace, mask, torch.zeros(8), settings, rows).bins
        return (result - kspace).abs().square().sum(dim=(1, 2)) / model.power[~mask[0]].sum()

    found = masked_ratio(model, kspace, mask.expand(8, -1, -1))
    torch.testing.assert_close(found, inferred(1), rtol=1e-5, atol=0)
    assert not torch.isclose(found, inferred(2), rtol=1e-4, atol=0).all()


def test_masked_ratio_trains_the_encoder(model, kspace, noise):
    masked_ratio(model, kspace, random_masks(8, 16, noise)).sum().backward()
    for part in (model.encoder, model.decoder):
        for stage in part:
            assert any(p.grad is not None and p.grad.abs().max() > 0 for p in stage.parameters())


def test_validation_scores(model, kspace):
    with torch.no_grad():
        scores = validation_scores(model, kspace, 0.2, torch.Generator().manual_seed(3))
        sampled = posterior_pass(model, kspace, torch.Generator().manual_seed(3))
        mean = posterior_pass(model, kspace)
    assert scores["elbo_loss"].shape == (8,)
    torch.testing.assert_close(scores["elbo_loss"].mean(), sampled.negative_elbo(0.2))
    energy = kspace.abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(scores["nmse"], squared_error(mean.bins, kspace) / energy)
    torch.testing.assert_close(scores["kl"], sampled.kl.T)
    for k, s in enumerate(scales(16)):
        ring = crop(kspace, s)[:, band_mask(s)].abs().square().sum(1)
        torch.testing.assert_close(scores["error"][:, k], sampled.error[k] / ring, rtol=1e-2, atol=1e-4)
    silence(model, 3)
    with torch.no_grad():
        silent = validation_scores(model, kspace, 0.2, torch.Generator().manual_seed(3))
    assert scores["completion"].shape == (8, 2)  # from 4x4 and from 8x8
    torch.testing.assert_close(silent["completion"], torch.ones(8, 2))
    assert (scores["completion"] != 1).all()


@torch.no_grad()
def test_elbo_prefers_the_true_sigma(model, kspace):
    """The likelihood's normalisation: at fixed divergence the best sigma^2 is the mean squared error per part."""
    passed = posterior_pass(model, kspace)
    passed = replace(passed, kl=torch.zeros_like(passed.kl))
    best = math.sqrt(passed.error.sum(0).mean() / (2 * 16**2))
    at = [passed.negative_elbo(best * factor) for factor in (0.97, 1.0, 1.03)]
    assert at[1] < min(at[0], at[2])
    assert at[1].item() == pytest.approx(0.5 + 0.5 * math.log(2 * math.pi * best**2), abs=1e-4)


def test_slices_that_take_means_decode_as_without_noise(model, kspace):
    means = torch.arange(8) < 3
    mixed = posterior_pass(model, kspace, torch.Generator().manual_seed(2), means=means)
    mean = posterior_pass(model, kspace)
    torch.testing.assert_close(mixed.bins[means], mean.bins[means], rtol=1e-4, atol=1e-4)
    assert ((mixed.bins - mean.bins)[~means].abs().sum(dim=(1, 2)) > 1e-3).all()
