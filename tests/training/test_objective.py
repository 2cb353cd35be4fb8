import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, scales
from mri_iahvae.training.masks import random_masks
from mri_iahvae.training.module import validation_scores
from mri_iahvae.training.objective import completion_ratio, masked_ratio, posterior_pass, squared_error
from mri_iahvae.training.statistics import canonical_batch
from tests.inference.runs import COLUMNS, run


@pytest.fixture
def model(make_model):
    return make_model(16)


@pytest.fixture
def kspace(blobs):
    return canonical_batch(blobs, 16)


def seeded():
    return torch.Generator().manual_seed(2)


def predict_zero(model, first=0):
    """Let the heads from a scale on predict zero."""
    with torch.no_grad():
        for scale in model.scales[first:]:
            for parameter in scale.head.image.parameters():
                parameter.zero_()


def gradient_of(parameter):
    return parameter.grad is not None and bool(parameter.grad.any())


def test_the_elbo_is_likelihood_minus_divergence(model, kspace):
    """Layer by layer with torch.distributions: 2 N^2 real dimensions, every bin two of them; and its gradient."""
    sigma, noise = 0.3, seeded()
    session = model.encoder.begin(kspace, kspace != 0)
    h, decoded, divergence = None, kspace[:, :0, :0], 0.0
    for scale in model.scales:
        block = crop(kspace, scale.side)
        features, h = session.features(scale, block), scale.context(h, decoded.detach())
        session.extend(scale, block)
        for layer in scale.ladder():
            (p, residual), (offset, log_ratio) = layer.prior(h), layer.posterior(h, features)
            q = Normal(p.at(offset), p.std * log_ratio.exp())
            z = q.mean + q.stddev * torch.randn(offset.shape, generator=noise)
            divergence = divergence + kl_divergence(q, Normal(p.mean, p.std)).sum(dim=(1, 2, 3))
            h = layer.advance(h, residual, z)
        part = scale.bins(h)
        decoded = part if scale.index == 0 else embed(decoded, scale.side) + part
    likelihood = sum(
        Normal(part(decoded), sigma).log_prob(part(kspace)).sum(dim=(1, 2))
        for part in (torch.real, torch.imag)
    )
    expected = ((divergence - likelihood) / (2 * 16**2)).mean()
    passed = posterior_pass(model, kspace, seeded())
    found = passed.negative_elbo(sigma)
    torch.testing.assert_close(passed.bins, decoded)
    for error, s in zip(passed.error, scales(16), strict=True):
        difference = crop(decoded - kspace, s)[:, band_mask(s)]
        torch.testing.assert_close(error, difference.abs().square().sum(1))
    torch.testing.assert_close(passed.kl.sum(0), divergence, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    parameters = list(model.parameters())
    for a, b in zip(*(torch.autograd.grad(value, parameters) for value in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3 * float(b.abs().max()) + 1e-6)


@torch.no_grad()
def test_teachers_show_the_true_coarser_bins(model, kspace):
    teachers = [torch.arange(8) < count for count in (0, 8, 3)]
    free, taught, mixed = (posterior_pass(model, kspace, teacher=teacher) for teacher in teachers)
    torch.testing.assert_close(free.bins, posterior_pass(model, kspace).bins)
    torch.testing.assert_close(free.error[0], taught.error[0])
    assert (free.error[1:] != taught.error[1:]).all()
    torch.testing.assert_close(mixed.bins, torch.cat([taught.bins[:3], free.bins[3:]]), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_slices_that_take_means_decode_as_without_noise(model, kspace):
    means = torch.arange(8) < 3
    mixed, mean = posterior_pass(model, kspace, seeded(), means=means), posterior_pass(model, kspace)
    torch.testing.assert_close(mixed.bins[means], mean.bins[means], rtol=1e-4, atol=1e-4)
    assert ((mixed.bins - mean.bins)[~means].abs().sum(dim=(1, 2)) > 1e-3).all()


def test_a_head_answers_for_its_own_band_only(model, kspace):
    """Contexts see the coarser bins as they are given: finer bands do not train coarser heads."""
    for index in range(5):
        model.zero_grad()
        posterior_pass(model, kspace).error[index].sum().backward()
        for scale in model.scales:
            parameters = dict(scale.head.named_parameters())
            del parameters["image.bias"]  # a constant image is DC alone, which finer bands do not hold
            assert {gradient_of(p) for p in parameters.values()} == {scale.index == index}


@pytest.mark.parametrize("side", [4, 8])
@torch.no_grad()
def test_zero_filling_has_completion_ratio_one(model, kspace, side):
    predict_zero(model, side.bit_length())
    ratio, outside = completion_ratio(model, kspace, side), ~block_mask(side, 16)
    assert ratio.mean().item() == pytest.approx(1.0, rel=1e-4)  # powers were measured on these slices
    energy = kspace[:, outside].abs().square().sum(1)
    torch.testing.assert_close(ratio / ratio.mean(), energy / energy.mean())


def test_completion_trains_the_finer_priors_only(model, kspace):
    completion_ratio(model, kspace, 4).sum().backward()
    for name, parameter in model.named_parameters():
        finer = name.startswith("decoder") and int(name.split(".")[1]) > 2
        assert gradient_of(parameter) == (finer and "posterior" not in name), name


@torch.no_grad()
def test_masked_ratio_of_zero_predictions_is_all_energy_over_that_of_the_missing_bins(model, kspace, noise):
    predict_zero(model)
    mask, energy = random_masks(8, 16, noise), kspace.abs().square().sum(dim=(1, 2))
    expected = energy / (model.power * ~mask).sum(dim=(1, 2))
    torch.testing.assert_close(masked_ratio(model, kspace, mask), expected)
    nothing = masked_ratio(model, kspace, torch.zeros(8, 16, 16, dtype=torch.bool))
    assert nothing.mean().item() == pytest.approx(1.0, rel=1e-4)


@torch.no_grad()
def test_masked_ratio_is_the_error_of_amortized_inference(model, kspace):
    """At inference, amortized; where every band is measured in part."""
    for layer in (layer for scale in model.scales for layer in scale.ladder()):
        layer.posterior_block.expand.weight.mul_(100)  # what the encoder sees must matter
    found = run(model, kspace, COLUMNS, "amortized", data_consistency="none")
    expected = (found - kspace).abs().square().sum(dim=(1, 2)) / model.power[~COLUMNS[0]].sum()
    ratio = masked_ratio(model, kspace, COLUMNS.expand(8, -1, -1))
    torch.testing.assert_close(ratio, expected, rtol=1e-4, atol=0)


@torch.no_grad()
def test_validation_scores(model, kspace):
    scores = validation_scores(model, kspace, 0.2, seeded())
    sampled, mean = posterior_pass(model, kspace, seeded()), posterior_pass(model, kspace)
    assert scores["elbo_loss"].shape == (8,)
    torch.testing.assert_close(scores["elbo_loss"].mean(), sampled.negative_elbo(0.2))
    energy = kspace.abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(scores["nmse"], squared_error(mean.bins, kspace) / energy)
    torch.testing.assert_close(scores["kl"], sampled.kl.T)
    for k, s in enumerate(scales(16)):
        ring = crop(kspace, s)[:, band_mask(s)].abs().square().sum(1)
        torch.testing.assert_close(scores["error"][:, k], sampled.error[k] / ring, rtol=1e-2, atol=1e-4)
    predict_zero(model, 3)
    assert scores["completion"].shape == (8, 2)  # from 4x4 and from 8x8
    assert (scores["completion"] != 1).all()
    scores = validation_scores(model, kspace, 0.2, seeded())
    torch.testing.assert_close(scores["completion"], torch.ones(8, 2))
