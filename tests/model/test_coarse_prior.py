"""The prior of the coarse block: its posterior against a weighted sample of the prior and of the unknown factor."""

import math

import pytest
import torch

from mri_iahvae.model import coarse_prior
from mri_iahvae.model.coarse_prior import CoarsePrior, block_of, numbers_of
from tests.model.test_mixture import random_mixture


@pytest.fixture
def prior():
    return CoarsePrior(random_mixture(3, 8))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_numbers_and_blocks():
    block = torch.view_as_complex(normal(3, 4, 4, 2))
    assert torch.equal(block_of(numbers_of(block)), block)


def test_draws_are_the_mixtures(prior):
    noise = normal(5, 9)
    drawn = prior.known().draw(noise)
    torch.testing.assert_close(drawn, block_of(prior.mixture.draw(noise)[0]).to(torch.complex64))
    mean, variance = prior.known().moments()
    many = prior.known().draw(normal(40_000, 9))
    torch.testing.assert_close(many.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close((many - mean).abs().square().mean(0) / 2, variance, rtol=0.05, atol=0)


@pytest.mark.parametrize("missing", [[(0, 0)], [(1, 1)], [(0, 0), (1, 0), (1, 1)], []])
def test_posterior_against_weighted_samples(prior, missing, monkeypatch):
    """y = g x + noise, log |g| normal and cut off, the phase even: moments by importance sampling."""
    monkeypatch.setattr(coarse_prior, "_HYPOTHESES", 4000)  # of few, the spread is itself uncertain
    variance = torch.full((2, 2), 2.0)
    for index in missing:
        variance[index] = torch.inf
    y = torch.view_as_complex(2 * normal(2, 2, 2, seed=5))
    count = 100_000
    x = block_of(prior.mixture.draw(normal(count, 9, seed=6))[0])
    magnitude, angle = (
        0.3 + 0.8 * normal(count, seed=7),
        2 * math.pi * torch.special.ndtr(normal(count, seed=8)),
    )
    kept = (magnitude > -1.575) & (magnitude < 3.075)
    block = torch.polar(magnitude.exp(), angle)[:, None, None] * x
    misfit = ((block - y).abs().square() / variance / 2).sum((1, 2))
    weights = torch.where(kept, -misfit, -torch.inf).softmax(0)[:, None, None]
    mean = (weights * block).sum(0)
    spread = (weights * (block - mean).abs().square()).sum(0) / 2
    found, own = prior.posterior(y, variance).moments()
    torch.testing.assert_close(found, mean.to(found.dtype), rtol=0, atol=0.15 * spread.max().sqrt())
    torch.testing.assert_close(own, spread.float(), rtol=0.2, atol=0)


def test_what_is_known_stays(prior):
    """Bins without noise are what was measured; draws spread as the variance says."""
    y = torch.view_as_complex(normal(2, 2, 2, seed=5)).to(torch.complex64)
    variance = torch.tensor([[0.0, torch.inf], [0.0, 0.0]])
    posterior = prior.posterior(y, variance)
    mean, own = posterior.moments()
    drawn = posterior.draw(normal(4000, 9))
    known = variance == 0
    torch.testing.assert_close(mean[known], y[known])
    torch.testing.assert_close(drawn[:, known], y[known].expand(4000, -1), rtol=0, atol=1e-4)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.1 * float(own.max().sqrt()))
    torch.testing.assert_close((drawn - mean).abs().square().mean(0)[0, 1] / 2, own[0, 1], rtol=0.1, atol=0)


def test_units_do_not_matter(prior):
    """Twice the measurement, and noise, is twice the block, but for the weak prior of the magnitude."""
    y = torch.view_as_complex(normal(2, 2, 2, seed=5))
    variance = torch.tensor([[0.01, torch.inf], [0.01, 0.01]])
    turned = y * torch.polar(torch.tensor(1.0), torch.tensor(math.pi / 2)).to(y.dtype)  # a step of the grid
    mean, own = prior.posterior(y, variance).moments()
    again, same = prior.posterior(turned, variance).moments()
    torch.testing.assert_close(again, 1j * mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(same, own, rtol=0.2, atol=0)
