"""What the encoder sees of a band with holes or noise, and what its posterior is taken for."""

import pytest
import torch
from mri_iahvae.inference.imputation import encode_imputed

from mri_iahvae.inference.measurement import Band
from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.model.iahvae import add_band

INDEX, S = 3, 8


@pytest.fixture
def task(model, kspace, noise):
    """Context, features and coarser bins of the scale 8 x 8, and a function that makes its measurement."""
    ring = band_mask(S)
    features = None
    for index in range(INDEX):
        features = model.encode(index, crop(kspace, 2**index), features)
    h = torch.randn(3, 8, S, S, generator=noise)
    holes = ring & (torch.rand(3, S, S, generator=noise) < 0.6)

    def make(*, whole=False, sigma=None):
        mask = ring.expand(3, S, S) if whole else holes
        data = torch.where(mask, crop(kspace, S), 0)
        return Band(
            data=data,
            mask=mask,
            share=mask.flatten(1).sum(1) / ring.sum(),
            holes=not whole,
            weight=mask / 2,
            prior=torch.ones(3),
            noise=None if sigma is None else torch.as_tensor(sigma),
            noisy=data,
            residual=torch.zeros_like(data),
        )

    return h, features, crop(kspace, S // 2), make


def encoded(model, task, band, rounds=1):
    """The result, and the bands that the encoder saw."""
    h, features, seen, _ = task
    shown = []

    def encode(index, kspace, coarser):
        shown.append(kspace * band_mask(S))
        assert torch.equal(crop(kspace, S // 2), seen)
        return model.encode(index, kspace, coarser)

    return encode_imputed(model, encode, INDEX, h, features, seen, band, rounds), shown


def test_a_band_without_holes_is_encoded_once_as_it_is(model, task):
    band = task[3](whole=True)
    (here, means, spread), shown = encoded(model, task, band, rounds=3)
    assert len(shown) == 1
    assert torch.equal(shown[0], band.data)
    h, features, seen, _ = task
    torch.testing.assert_close(here, model.encode(INDEX, add_band(seen, band.data), features))
    last, priors, posteriors, _ = model.amortize(INDEX, h, here)
    # Whitened, the means lead back to where the encoder's posterior does.
    torch.testing.assert_close(model.descend(INDEX, h, means)[0], last, rtol=1e-4, atol=1e-4)
    for r, q, p in zip(spread, posteriors, priors, strict=True):
        torch.testing.assert_close(r, q.std / p.std)


def test_holes_hold_the_prior_mean_first_and_the_posterior_mean_later(model, task):
    band = task[3]()
    h, features, seen, _ = task
    guess = model.band(INDEX, model.descend(INDEX, h)[0])
    _, shown = encoded(model, task, band, rounds=3)
    assert len(shown) == 3
    for picture in shown:
        assert torch.equal(picture[band.mask], band.data[band.mask])
        torch.testing.assert_close(picture[~band.mask], guess[~band.mask])
        here = model.encode(INDEX, add_band(seen, picture), features)
        guess = model.band(INDEX, model.amortize(INDEX, h, here)[0])


def test_the_spread_is_the_encoder_s_for_the_measured_share_and_the_prior_s_for_the_rest(model, task):
    band = task[3]()
    (here, _, spread), _ = encoded(model, task, band)
    _, priors, posteriors, _ = model.amortize(INDEX, task[0], here)
    assert len(band.share.unique()) > 1
    for r, q, p in zip(spread, posteriors, priors, strict=True):
        for k, share in enumerate(band.share):
            variance = share * (q.std[k] / p.std[k]).square() + (1 - share)
            torch.testing.assert_close(r[k].square(), variance)


@pytest.mark.parametrize("whole", [True, False])
def test_noise_is_filtered_about_the_prior_mean(model, task, whole):
    """The posterior mean of a bin whose prior deviates by the band's gain, per slice its own noise."""
    sigma = [0.0, 0.5, 1e4]
    band = task[3](whole=whole, sigma=sigma)
    expected = model.band(INDEX, model.descend(INDEX, task[0])[0])
    _, (picture, *_) = encoded(model, task, band)
    for k, level in enumerate(sigma):
        signal, noise = float(model.gains[INDEX]) ** 2 / 2, level**2
        mean = (noise * expected[k] + signal * band.data[k]) / (noise + signal)
        torch.testing.assert_close(picture[k][band.mask[k]], mean[band.mask[k]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(picture[0][band.mask[0]], band.data[0][band.mask[0]])
    torch.testing.assert_close(picture[2], expected[2], rtol=1e-4, atol=1e-4)
