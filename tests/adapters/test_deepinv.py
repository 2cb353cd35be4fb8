"""The prior as a denoiser on tensors, as deepinv's algorithms call it; they are written out here."""

import numpy as np
import pytest
import torch

from mri_iahvae import Prior, draw_mask
from mri_iahvae.adapters.deepinv import PriorDenoiser
from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.fft import fft2c, ifft2c


@pytest.fixture(scope="module")
def prior(checkpoint):
    return Prior(checkpoint, "cpu", method="amortized")


@pytest.fixture
def images(head_kspace):
    return ifft2c(torch.from_numpy(head_kspace(2)))


@pytest.mark.parametrize("sigma", [0.1, torch.tensor(0.1), torch.tensor([0.1, 0.2])[:, None, None, None]])
def test_every_form_is_the_same_image(prior, images, sigma):
    denoiser = PriorDenoiser(prior)
    assert not list(denoiser.parameters())
    expected = prior.denoise(images, np.asarray(sigma).flatten())
    torch.testing.assert_close(denoiser(images, sigma), expected)
    torch.testing.assert_close(denoiser(images[:, None], sigma), expected[:, None])
    parts = torch.view_as_real(images).movedim(-1, 1)
    found = denoiser(parts.double(), sigma)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.view_as_real(expected).movedim(-1, 1).double())


@pytest.mark.parametrize("shape", [(2, 32, 32), (2, 1, 32, 32), (2, 3, 32, 32), (1, 2, 2, 32, 32)])
def test_other_shapes_are_refused(prior, shape):
    with pytest.raises(UsageError, match=r"expected float \(B, 2, H, W\), complex"):
        PriorDenoiser(prior)(torch.zeros(shape), 0.1)
    if shape[1:-2] not in ((), (1,)):
        with pytest.raises(UsageError, match=r"got torch\.complex64"):
            PriorDenoiser(prior)(torch.zeros(shape, dtype=torch.complex64), 0.1)


class LinearPrior:
    """Images are white and of variance v: the denoiser is Wiener's."""

    def __init__(self, variance):
        self.variance = variance

    def denoise(self, image, sigma):
        return self.variance / (self.variance + sigma[0] ** 2) * image


def test_plug_and_play_finds_the_posterior_mean_of_a_gaussian_prior(noise):
    """Proximal gradient steps, prox_g = D at sigma: for each measured bin v / (v + sigma^2) of the datum."""
    denoiser, sigma, variance = PriorDenoiser(LinearPrior(2.0)), 0.5, 2.0
    mask = torch.from_numpy(draw_mask("random", (16, 16), 2, 0.25))
    y = torch.where(mask, torch.view_as_complex(torch.randn(1, 16, 16, 2, generator=noise)), 0)
    x = torch.zeros(1, 2, 16, 16)
    for _ in range(100):
        bins = fft2c(torch.complex(x[:, 0], x[:, 1]))
        step = ifft2c(bins - torch.where(mask, bins - y, 0))
        x = denoiser(torch.stack([step.real, step.imag], dim=1), sigma)
    torch.testing.assert_close(fft2c(torch.complex(x[:, 0], x[:, 1])), y * variance / (variance + sigma**2))


def test_plug_and_play_with_a_model_stays_near_the_data(prior, images):
    mask = torch.from_numpy(draw_mask("random", (32, 32), 2, 0.25))
    y = torch.where(mask, fft2c(images), 0)
    denoiser, x = PriorDenoiser(prior), ifft2c(y)
    for _ in range(3):
        bins = fft2c(x)
        x = denoiser(ifft2c(torch.where(mask, y, bins)), 0.02)
    bins = fft2c(x)
    assert (bins - y)[..., mask].norm() < 0.2 * y.norm()
    assert bins[..., ~mask].norm() > 0


def test_half_precision_is_taken_and_whole_numbers_are_refused(prior, images):
    denoiser, parts = PriorDenoiser(prior), torch.view_as_real(images).movedim(-1, 1)
    for kind in (torch.float16, torch.bfloat16):
        found = denoiser(parts.to(kind), 0.1)
        assert found.dtype == kind
        expected = denoiser(parts.to(kind).float(), 0.1).to(kind)
        assert torch.equal(found, expected)
    with pytest.raises(UsageError, match=r"got torch\.int64"):
        denoiser(torch.ones(1, 2, 32, 32, dtype=torch.int64), 0.1)
