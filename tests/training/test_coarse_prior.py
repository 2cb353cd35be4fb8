"""Fitting the coarse prior: EM raises what it maximises, finds the mixture it is given, and knows its seed."""

import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.model.coarse_file import load_coarse, save_coarse
from mri_iahvae.model.mixture import Mixture
from mri_iahvae.training import coarse_prior
from mri_iahvae.training.coarse_prior import core_blocks, fit_coarse_prior, fit_mixture
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.statistics import canonical_batch
from tests.model.test_mixture import random_mixture


def drawn(mixture, count, seed=1):
    noise = torch.randn(count, 1 + mixture.means.shape[1], generator=torch.Generator().manual_seed(seed))
    return mixture.draw(noise.double())[0]


def test_every_round_raises_the_posterior_probability(monkeypatch):
    monkeypatch.setattr(coarse_prior, "_TOLERANCE", 1e-6)
    samples = drawn(random_mixture(4, 3), 400)
    _, trace = fit_mixture(samples, 6)
    steps = torch.tensor(trace).diff()
    assert len(steps) > 5
    assert (steps > 0).all()


def test_the_mixture_of_the_samples_is_found():
    parts = random_mixture(3, 2, seed=3)
    truth = Mixture(parts.log_weights, 4 * parts.means, parts.covariances)
    mixture, _ = fit_mixture(drawn(truth, 20_000), 8)
    others = drawn(truth, 2000, seed=2)
    lost = truth.log_prob(others) - mixture.log_prob(others)
    assert lost.mean().abs() < 0.03  # nats: the Kullback-Leibler divergence


def test_one_component_is_the_gaussian_of_the_samples():
    samples = drawn(random_mixture(2, 3), 5000)
    mixture, _ = fit_mixture(samples, 1)
    torch.testing.assert_close(mixture.mean, samples.mean(0))
    torch.testing.assert_close(mixture.covariances[0], samples.mT.cov(correction=0), rtol=1e-5, atol=1e-6)


def test_samples_that_are_all_the_same():
    """As of slices without signal: still a density."""
    mixture, _ = fit_mixture(torch.zeros(20, 4, dtype=torch.float64), 3)
    assert mixture.log_prob(torch.zeros(1, 4, dtype=torch.float64)).isfinite().all()


def test_blocks_are_those_of_canonical_slices(make_blobs):
    slices = CachedSlices(make_blobs(4))
    blocks = core_blocks(slices, 32, 40, seed=0)
    assert blocks.shape == (40, 8, 8)
    energy = blocks.abs().square().sum((1, 2))
    torch.testing.assert_close(energy, torch.full_like(energy, 32**2))
    whole = crop(canonical_batch(slices.stack([0]), 32), 8)
    torch.testing.assert_close(whole.abs().square().sum((1, 2)), energy[:1])


def test_a_fit_is_reproducible_and_survives_its_file(make_blobs, tmp_path):
    slices = CachedSlices(make_blobs(4))
    prior, again = (fit_coarse_prior(slices, 32, seed=2) for _ in range(2))
    assert torch.equal(prior.mixture.covariances, again.mixture.covariances)
    save_coarse(prior, tmp_path)
    stored, digest = load_coarse(tmp_path)
    assert len(digest) == 64
    blocks = core_blocks(slices, 32, 40, seed=1)
    difference = (stored.log_prob(blocks) - prior.log_prob(blocks)) / 128
    assert difference.mean().abs() < 0.02  # nats per number, by half precision
