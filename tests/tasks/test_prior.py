"""The prior as an object: draws, the bound of its density, denoising and completion."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import mri_iahvae
from mri_iahvae import Prior, Reconstructor, draw_mask
from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.gaussian import whitened_kl
from mri_iahvae.tasks import prior as module
from tests.linear_model import LAYERS, RATIO, LinearModel

MASK = draw_mask("random", (32, 32), 2, 0.25, seed=1)


@pytest.fixture(scope="module")
def prior(checkpoint):
    return Prior(checkpoint, "cpu", steps=1)


@pytest.fixture
def images(head_kspace):
    return ifft2c(torch.from_numpy(head_kspace(2))).numpy()


def test_samples_are_those_of_the_function(prior, checkpoint):
    expected = mri_iahvae.sample(2, seed=3, temperature=0.5, checkpoint=checkpoint, device="cpu")
    np.testing.assert_array_equal(prior.sample(2, seed=3, temperature=0.5), expected)
    assert expected.shape[-1] == prior.size


def test_denoising_is_that_of_kspace(prior, checkpoint, images):
    expected = Reconstructor(checkpoint, "cpu", steps=1).denoise(fft2c(torch.from_numpy(images)).numpy(), 0.1)
    found = prior.denoise(images, 0.1)
    assert found.dtype == np.complex64
    np.testing.assert_array_equal(found, expected.image)
    np.testing.assert_allclose(prior.denoise(images[0], 0.1), found[0], atol=1e-5)
    np.testing.assert_array_equal(prior.denoise(torch.from_numpy(images), torch.tensor(0.1)).numpy(), found)
    magnitude = np.abs(images)
    np.testing.assert_array_equal(prior.denoise(magnitude, 0.1), prior.denoise(magnitude + 0j, 0.1))


def test_completion_keeps_what_is_measured(prior, images):
    kspace = fft2c(torch.from_numpy(images)).numpy()
    found = prior.complete(kspace, MASK)
    np.testing.assert_array_equal(found[..., MASK], kspace[..., MASK])
    assert (found[..., ~MASK] != 0).all()
    alone = prior.complete(torch.from_numpy(kspace[0]), torch.from_numpy(MASK))
    np.testing.assert_allclose(alone.numpy(), found[0], atol=1e-4)


def test_the_bound_does_not_depend_on_units_or_company(prior, images):
    found = prior.log_prob(images)
    assert found.shape == (2,)
    assert found.dtype == np.float64
    alone = prior.log_prob(images[1])
    assert alone.shape == ()
    assert alone == pytest.approx(found[1], rel=1e-6)
    np.testing.assert_allclose(prior.log_prob((1e-24 - 2e-24j) * images.astype(complex)), found, rtol=1e-5)
    np.testing.assert_array_equal(prior.log_prob(torch.from_numpy(images)).numpy(), found)
    assert prior.log_prob(images[0], seed=1) != found[0]


def test_an_ordinary_image_is_more_probable_than_noise(prior, images, rng):
    noise = rng.normal(size=(32, 32)) + 1j * rng.normal(size=(32, 32))
    assert prior.log_prob(images[0]) > prior.log_prob(noise) + 100


class LinearScaleWithRate:
    """A scale of the linear model that states its divergence from the prior."""

    def __init__(self, scale):
        self.scale = scale

    def __getattr__(self, name):
        return getattr(self.scale, name)

    def encode(self, *args):
        encoded = self.scale.encode(*args)
        rates = [whitened_kl(m, s.log()) for m, s in zip(encoded.mean, encoded.std, strict=True)]
        return encoded._replace(rate=sum(rates))


def test_the_bound_misses_the_density_by_the_divergence_of_the_posteriors(prior, monkeypatch):
    """Of a linear model all three are known in closed form: ELBO = log p(x) - KL(q(z | x) || p(z | x))."""
    model = LinearModel()
    kspace = torch.view_as_complex(torch.randn(4, 4, 2, generator=torch.Generator().manual_seed(0)))
    density = gap = 0.0
    for scale in model.scales:
        block = model.decomposition.block(kspace, scale.index)
        offset, matrix = scale.prior()
        data = scale.flat(block)
        variance = matrix @ matrix.T + model.sigma**2 * torch.eye(len(offset))
        density += float(MultivariateNormal(offset, variance).log_prob(data))
        precision = torch.eye(matrix.shape[1]) + matrix.T @ matrix / model.sigma**2
        mean = torch.linalg.solve(precision, matrix.T @ (data - offset)) / model.sigma**2
        encoded = torch.cat([0.3 * block.real.flatten()] * LAYERS)
        q = MultivariateNormal(encoded, RATIO**2 * torch.eye(len(encoded)))
        gap += float(kl_divergence(q, MultivariateNormal(mean, precision_matrix=precision)))
    model.size, model.gains, model.power = 4, torch.ones(1), None
    model.scales = [LinearScaleWithRate(scale) for scale in model.scales]
    monkeypatch.setattr(prior, "_model", model)
    monkeypatch.setattr(module, "canonical_factor", lambda bins, *_: torch.ones(len(bins)))
    monkeypatch.setattr(module, "power_of_two", lambda bins: torch.ones(len(bins)))
    assert gap > 1
    assert prior.log_prob(ifft2c(kspace), draws=20_000) == pytest.approx(density - gap, abs=1.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.ones((16, 16))}, r"expected \(32, 32\) or \(images, 32, 32\), got \(16, 16\)"),
        ({"image": np.full((32, 32), np.nan)}, "expected finite"),
        ({"draws": 0}, "draws 0: expected at least one"),
    ],
)
def test_refused(prior, change, words):
    with pytest.raises(UsageError, match=words):
        prior.log_prob(**{"image": np.ones((32, 32)), **change})


@pytest.mark.parametrize("shape", [(8,), (0, 8, 8), (1, 1, 8, 8)])
def test_images_of_other_shapes_are_refused_in_one_line(prior, shape):
    for call in (partial(prior.denoise, sigma=1.0), prior.log_prob):
        with pytest.raises(UsageError, match="image: expected"):
            call(np.zeros(shape, np.complex64))
