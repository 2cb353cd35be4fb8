"""The mathematics of the tools of hierarchical VAEs."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.neighbours.common import networks
from benchmarks.neighbours.hvae_variants import (
    ANNEALED,
    VARIANTS,
    AbsolutePosterior,
    PrecisionWeightedPosterior,
    SpectralNorms,
    annealed,
    exchange_posteriors,
    free_bits,
    product,
    weight,
)
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import posterior_pass


@pytest.fixture
def model():
    """With weights that are random everywhere."""
    torch.manual_seed(0)
    model = IAHVAE(replace(networks(8), gains=(4.0, 3.0, 2.0, 1.0)))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def passed(model):
    kspace = torch.randn(3, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    return posterior_pass(model, kspace, torch.Generator().manual_seed(2))


def test_free_bits_with_no_floor_are_the_negative_elbo(passed):
    torch.testing.assert_close(free_bits(passed, 0.3, torch.zeros(4)), passed.negative_elbo(0.3))


def test_a_scale_below_its_floor_is_not_pulled_further(passed, model):
    """It counts as its floor, and leaves the gradient of the distortion alone."""
    rate = passed.kl.mean(1)
    floors = torch.stack([2 * rate[0], rate[1] / 2, torch.zeros(()), torch.zeros(())]).detach()
    lifted = (free_bits(passed, 0.3, floors) - passed.negative_elbo(0.3)) * 2 * 8**2
    torch.testing.assert_close(lifted, rate[0], rtol=1e-3, atol=1e-3)
    (gradient,) = torch.autograd.grad(free_bits(passed, 0.3, floors), passed.kl, retain_graph=True)
    assert (gradient[0] == 0).all()
    torch.testing.assert_close(gradient[1:], torch.full((3, 3), 1 / (2 * 8**2) / 3))


def test_annealing_ends_at_the_negative_elbo_and_starts_without_divergence(passed):
    assert [weight(progress) for progress in (0.0, ANNEALED / 2, ANNEALED, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    torch.testing.assert_close(annealed(passed, 0.3, 1.0), passed.negative_elbo(0.3))
    without = replace(passed, kl=torch.zeros_like(passed.kl)).negative_elbo(0.3)
    torch.testing.assert_close(annealed(passed, 0.3, 0.0), without)


def test_the_product_of_gaussians_on_a_grid():
    """Moments of N(0, 1) N(m, r^2), normalised numerically."""
    x = torch.linspace(-12, 12, 40001, dtype=torch.float64)
    for m, r in ((0.7, 0.4), (-2.0, 1.0), (3.0, 5.0)):
        density = torch.exp(-(x**2) / 2 - (x - m) ** 2 / (2 * r**2))
        density /= density.sum()
        mean = float((density * x).sum())
        std = math.sqrt(float((density * (x - mean) ** 2).sum()))
        offset, log_ratio = product(torch.tensor(m), torch.tensor(math.log(r)))
        assert float(offset) == pytest.approx(mean, abs=1e-5)
        assert math.exp(log_ratio) == pytest.approx(std, rel=1e-5)


@pytest.mark.parametrize("kind", [AbsolutePosterior, PrecisionWeightedPosterior])
def test_posteriors_in_units_of_the_latent(model, kind):
    """An absolute posterior is what the encoder's block gives; a precision-weighted one adds the prior's precision."""
    plain = model.scales[3].ladder()[0]
    h, features = torch.randn(2, 2, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    mean, log_std = plain.posterior(h, features)
    prior, _ = plain.prior(h)
    exchange_posteriors(model, kind)
    offset, log_ratio = model.scales[3].ladder()[0].posterior(h, features)
    found = Gaussian(prior.at(offset), prior.log_std + log_ratio)
    if kind is PrecisionWeightedPosterior:
        precision = prior.std**-2 + (-2 * log_std).exp()
        mean = (prior.mean * prior.std**-2 + mean * (-2 * log_std).exp()) / precision
        log_std = -precision.log() / 2
    torch.testing.assert_close(found.mean, mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.log_std, log_std, rtol=1e-4, atol=1e-4)


def test_spectral_norms_are_singular_values(model):
    norms = SpectralNorms(model)
    kernels = [kernel.flatten(1) for group in norms.groups for kernel in group]
    assert len(kernels) == sum(isinstance(module, nn.Conv2d) for module in model.modules())
    exact = torch.stack([torch.linalg.svdvals(kernel)[0] for kernel in kernels])
    for _ in range(300):
        found = norms()
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4)
    left, _, right = torch.linalg.svd(kernels[0])
    found[0].backward()
    gradient = norms.groups[0][0].grad.flatten(1)
    torch.testing.assert_close(gradient, torch.outer(left[:, 0], right[0]), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_parameters_of_the_plain_one(model, name):
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    VARIANTS[name](model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
