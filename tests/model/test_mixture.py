"""Mixtures of Gaussians: against torch.distributions, and conditioning against sums over a fine grid."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from mri_iahvae.model.mixture import Mixture


def random_mixture(components, width, seed=0):
    noise = torch.Generator().manual_seed(seed)
    roots = torch.randn(components, width, width, generator=noise, dtype=torch.float64)
    means = 2 * torch.randn(components, width, generator=noise, dtype=torch.float64)
    weights = torch.rand(components, generator=noise, dtype=torch.float64) + 0.2
    eye = torch.eye(width, dtype=torch.float64)
    return Mixture((weights / weights.sum()).log(), means, roots @ roots.mT + 0.1 * eye)


def reference(mixture):
    parts = MultivariateNormal(mixture.means, mixture.covariances)
    return MixtureSameFamily(Categorical(logits=mixture.log_weights), parts)


def test_log_prob_is_that_of_torch():
    mixture = random_mixture(3, 4)
    x = reference(mixture).sample((50,))
    torch.testing.assert_close(mixture.log_prob(x), reference(mixture).log_prob(x))
    torch.testing.assert_close(mixture.mean, reference(mixture).mean)


@pytest.mark.parametrize("variance", [[0.0, torch.inf], [0.3, torch.inf], [0.5, 0.2], [torch.inf, torch.inf]])
def test_conditioning_against_a_grid(variance):
    """The posterior's moments are sums over x of p(x) N(y; x, v)."""
    mixture, y = random_mixture(3, 2), torch.tensor([0.7, -0.4], dtype=torch.float64)
    variance = torch.tensor(variance, dtype=torch.float64)
    axis = torch.linspace(-20, 20, 801, dtype=torch.float64)
    known = y[:1] if variance[0] == 0 else axis  # without noise that entry is no unknown
    points = torch.cartesian_prod(known, axis)
    noisy = variance.isfinite() & (variance > 0)
    misfit = ((points - y).square() / variance)[:, noisy].sum(1) / 2
    density = (reference(mixture).log_prob(points) - misfit).softmax(0)
    mean = density @ points
    covariance = (density[:, None] * (points - mean)).mT @ (points - mean)
    found = mixture.condition(y, variance)
    torch.testing.assert_close(found.mean, mean, rtol=0, atol=1e-6)
    weights, offset = found.log_weights.exp(), found.means - found.mean
    total = torch.einsum("k,kij->ij", weights, found.covariances) + (weights * offset.mT) @ offset
    torch.testing.assert_close(total, covariance, rtol=0, atol=1e-6)


def test_evidence_is_the_marginal_density():
    mixture, y = random_mixture(3, 4), torch.zeros(1, 4, dtype=torch.float64)
    variance = torch.tensor([0.2, torch.inf, 0.0, torch.inf], dtype=torch.float64)
    kept, noise = [0, 2], torch.diag(torch.tensor([0.2, 0.0], dtype=torch.float64))
    covariances = mixture.covariances[:, kept][:, :, kept] + noise
    part = Mixture(mixture.log_weights, mixture.means[:, kept], covariances)
    found = mixture.log_evidence(y, variance).logsumexp(1)
    torch.testing.assert_close(found, reference(part).log_prob(y[:, kept]))
    nothing = torch.full((4,), torch.inf, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_evidence(y, nothing)[0], mixture.log_weights)


def test_draws_have_the_moments_of_the_mixture():
    mixture = random_mixture(3, 2)
    noise = torch.randn(40_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn, chosen = mixture.draw(noise)
    weights = torch.bincount(chosen) / len(chosen)
    torch.testing.assert_close(weights, mixture.log_weights.exp().float(), rtol=0, atol=0.01)
    for k, (mean, covariance) in enumerate(zip(mixture.means, mixture.covariances, strict=True)):
        own = drawn[chosen == k]
        torch.testing.assert_close(own.mean(0), mean, rtol=0, atol=0.1)
        torch.testing.assert_close(own.mT.cov(), covariance, rtol=0.05, atol=0.1)


def test_a_known_entry_is_drawn_as_it_is():
    mixture, y = random_mixture(3, 2), torch.tensor([0.7, 0.0], dtype=torch.float64)
    posterior = mixture.condition(y, torch.tensor([0.0, torch.inf], dtype=torch.float64))
    noise = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn, _ = posterior.draw(noise)
    torch.testing.assert_close(drawn[:, 0], y[0].expand(20), rtol=0, atol=1e-6)
    assert drawn[:, 1].std() > 0.1
