"""One scale: layers between prior and posterior, and a head at unit scale."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.kspace.fft import fft2c, to_complex
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from tests.model.conftest import Fixed


@pytest.fixture
def begun(model, kspace):
    """The third scale of a model, the context that it starts from, and its features."""
    scale, coarser = model.scales[2], model.scales[1]
    h = scale.context(torch.ones(2, model.config.scales[1].channels, 2, 2), crop(kspace, coarser.side))
    session = model.encoder.begin(kspace, kspace != 0)
    return scale, h, session.features(scale, crop(kspace, scale.side))


def drawn(scale, noise):
    return [torch.randn(2, *latent.shape, generator=noise) for latent in scale.latents]


def test_the_layers_by_hand(begun, noise):
    """p(z | h), z = mu + sigma e, h <- block(h + residual + project(z)); in parts, too."""
    scale, h, _ = begun
    latents, last = drawn(scale, noise), h
    for number, (layer, e) in enumerate(zip(scale.ladder(), latents, strict=True)):
        torch.testing.assert_close(scale.run(h, latents[:number]), last)
        torch.testing.assert_close(scale.run(last, latents[number:], number), scale.run(h, latents))
        prior, residual = layer.prior(last)
        z = prior.mean + prior.log_std.exp() * e
        projected = torch.einsum("oi,bihw->bohw", layer.project.weight[:, :, 0, 0], z)
        last = layer.block(last + residual + projected + layer.project.bias[:, None, None])
    torch.testing.assert_close(scale.run(h, latents), last, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scale.run(h), scale.run(h, [torch.zeros_like(e) for e in latents]))


def test_the_posterior_by_hand(begun, noise):
    """A sample is mean + std times the noise, and the rate the KL divergence of z, not whitened, by its closed form."""
    scale, h, features = begun
    drawn_noise = drawn(scale, noise)
    found, start, rate = scale.encode(h, features, drawn_noise), h, 0.0
    for number, layer in enumerate(scale.ladder()):
        (prior, _), (offset, log_ratio) = layer.prior(start), layer.posterior(start, features)
        q = Normal(prior.at(offset), prior.std * log_ratio.exp())
        rate = rate + kl_divergence(q, Normal(prior.mean, prior.std)).sum(dim=(1, 2, 3))
        expected = q.mean + q.stddev * drawn_noise[number]
        torch.testing.assert_close(prior.at(found.latents[number]), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(prior.at(found.mean[number]), q.mean)
        torch.testing.assert_close(prior.std * found.std[number], q.stddev)
        start = scale.run(h, found.latents[: number + 1])
    torch.testing.assert_close(found.rate, rate, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.last, scale.run(h, found.latents), rtol=1e-4, atol=1e-5)
    mean = scale.encode(h, features)
    assert all(torch.equal(a, b) for a, b in zip(mean.latents, mean.mean, strict=True))


def test_what_is_not_measured_leaves_the_priors_variance(begun):
    scale, h, features = begun
    whole = scale.encode(h, features)
    part = scale.encode(h, features, fraction=torch.tensor([0.25, 0.0]))
    for own, found in zip(whole.std, part.std, strict=True):
        torch.testing.assert_close(found[0].square(), 0.25 * own[0].square() + 0.75)
        assert (found[1] == 1).all()


def test_fresh_priors_are_standard_normal_and_fresh_heads_predict_zero(noise):
    model = IAHVAE(preset("tiny"))
    scale, h = model.scales[3], torch.randn(2, 16, 8, 8, generator=noise)
    prior, residual = scale.ladder()[0].prior(h)
    assert not any(values.any() for values in (prior.mean, prior.log_std, residual, scale.bins(h)))


@pytest.mark.parametrize("index", [3, 4, 5])
def test_heads_work_at_unit_scale(noise, index):
    """Channels of unit power become bins of the band's gain."""
    model = IAHVAE(replace(preset("tiny"), gains=(25.0, 20.0, 11.0, 3.0, 1.0, 0.2)))
    scale, gain = model.scales[index], float(model.gains[index])
    channels = torch.randn(200, 2 * scale.patch**2, scale.resolution, scale.resolution, generator=noise)
    scale.head.image = Fixed(channels)
    bins = scale.bins(torch.zeros(200, 16, scale.resolution, scale.resolution))
    ring = band_mask(scale.side)
    rms = bins[:, ring].abs().square().mean().sqrt()
    assert rms.item() == pytest.approx(gain, rel=0.03)
    assert scale.variance() == pytest.approx(gain**2 / 2)
    image = to_complex(torch.nn.functional.pixel_shuffle(channels, scale.patch))
    torch.testing.assert_close(bins, fft2c(image) * ring * gain / 2**0.5)


def test_spectral_heads_predict_the_bins_themselves(variant, noise):
    for scale in variant(heads="spectral").scales:
        shape = 2, 2 * scale.patch**2, scale.resolution, scale.resolution
        channels = torch.randn(shape, generator=noise)
        scale.head.image = Fixed(channels)
        bins = scale.bins(torch.zeros(2, scale.bias.shape[0], *shape[2:]))
        predicted = to_complex(torch.nn.functional.pixel_shuffle(channels, scale.patch))
        torch.testing.assert_close(bins, predicted * scale.gains / 2**0.5)
