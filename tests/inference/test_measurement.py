"""What is known of each coefficient, and the one formula that fuses it with a prediction."""

from dataclasses import fields, replace

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.measurement import Datum, Measurement
from mri_iahvae.kspace.bands import band_mask, crop, embed
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.estimate import Estimate

SIGMAS = (0.0, 0.3, 2.0)


@pytest.fixture
def mask(noise):
    return torch.rand(3, 16, 16, generator=noise) < 0.5


@pytest.fixture
def measured(model, kspace, mask):
    return Measurement.of(kspace, mask, torch.tensor(SIGMAS), model.decomposition)


@pytest.fixture
def datum(noise):
    """Half of 8 x 8 coefficients measured, with a noise level per batch element."""
    known = torch.rand(3, 8, 8, generator=noise) < 0.5
    variance = torch.where(known, torch.tensor(SIGMAS).square()[:, None, None], torch.inf)
    value = torch.where(known, complex_noise((3, 8, 8), 1.0, noise), 0)
    return Datum(value, variance, known.float().mean(dim=(1, 2)))


def test_every_measured_bin_belongs_to_one_scale(model, measured, kspace, mask):
    found = torch.zeros_like(kspace)
    for scale in model.scales:
        y = measured.at(scale)
        ring = band_mask(scale.side)
        assert torch.equal(y.known, crop(mask, scale.side) & ring)
        gained = [scale.variance() / (scale.variance() + sigma**2) for sigma in SIGMAS]
        expected = y.known.flatten(1).sum(1) / ring.sum() * torch.tensor(gained)
        torch.testing.assert_close(y.fraction, expected)
        for variance, known, sigma in zip(y.variance, y.known, SIGMAS, strict=True):
            torch.testing.assert_close(variance[known], torch.full_like(variance[known], sigma**2))
        found += embed(y.value, 16)
    assert torch.equal(found, torch.where(mask, kspace, 0))


def test_fusion_is_the_mean_of_two_gaussians_weighted_by_precision(datum, noise):
    predicted = complex_noise((3, 8, 8), 1.0, noise)
    fused = datum.fuse(predicted, 0.4**2)
    for k, sigma in enumerate(SIGMAS):
        here, known = fused[k], datum.known[k]
        if sigma:
            model, data = 1 / 0.4**2, 1 / sigma**2
            mean = (model * predicted[k] + data * datum.value[k]) / (model + data)
        else:
            mean = datum.value[k]  # without noise the datum itself
        torch.testing.assert_close(here[known], mean[known])
        assert torch.equal(here[~known], predicted[k][~known])  # imputation: the prediction
        torch.testing.assert_close(datum.weight(0.4**2)[k], known / (2 * (0.4**2 + sigma**2)))
    hard = torch.where(datum.known, datum.value, predicted)
    torch.testing.assert_close(datum.exact().fuse(predicted, 1e-9), hard)  # as if there were no noise


def test_data_of_samples_lose_a_draw_of_their_noise(model, measured):
    """The data of other batch elements are left as they are; the model's residual stays in the ring."""
    elements = (Element(0, 0), Element(1), Element(2, 3))
    draws = Draws(0, 1.0, elements, torch.device("cpu"))
    scale = model.scales[3]
    y = measured.at(scale)
    error = measured.draw(draws)
    torch.testing.assert_close(error[2], torch.where(measured.mask[2], 2.0 * draws.noise((16, 16))[2], 0))
    shift, residual = measured.perturbation(scale, 0.3, error, draws)
    assert torch.equal(shift, crop(error, 8) * band_mask(8))
    data = y.shifted(shift)
    expected = y.value - crop(error, 8)
    torch.testing.assert_close(data.value, torch.where(y.known, expected, 0))
    assert torch.equal(data.value[:2], y.value[:2])  # no noise; no sample
    assert torch.equal(data.variance, y.variance)
    torch.testing.assert_close(residual, 0.3 * draws.bins(scale, "model") * band_mask(8))
    assert not residual[1].any()


def test_an_estimate_stands_beside_the_data(model, measured, noise):
    variance, *spread = torch.rand(3, 3, 16, 16, generator=noise)
    variance[0] = torch.inf
    estimate = Estimate(complex_noise((3, 16, 16), 1.0, noise), variance, torch.stack(spread, dim=1))
    guided = replace(measured, estimate=estimate)
    scale = model.scales[3]
    y, ring = guided.at(scale, guided.estimate), band_mask(8)
    assert torch.equal(y.known, ring & torch.tensor([False, True, True])[:, None, None])
    assert torch.equal(y.value, torch.where(y.known, crop(estimate.kspace, 8), 0))
    assert torch.equal(y.variance[y.known], crop(estimate.variance, 8)[y.known])
    assert y.fraction[0] == 0
    for mine, theirs in zip(fields(guided.at(scale)), fields(measured.at(scale)), strict=True):
        assert torch.equal(getattr(guided.at(scale), mine.name), getattr(measured.at(scale), theirs.name))


def test_a_prediction_unlike_the_guides_estimate_is_trusted_less(model, measured, noise):
    """Its variance is that of the estimate, and a multiple of the mean squared residual of the inexact bins."""
    ring = band_mask(8)
    left = ring & (torch.arange(8) < 4)
    variance = crop(torch.zeros(3, 16, 16), 8).masked_fill(left, 0.5)
    values = complex_noise((3, 8, 8), 1.0, noise)
    y = Datum(values, variance.masked_fill(~ring, torch.inf), torch.ones(3))
    guided = replace(measured, estimate=Estimate(*measured.data))
    assert measured.prediction_variance(y, values + 9, 0.3) == 0.3**2  # the data's own noise is no fault
    offset = torch.tensor([0.0, 0.1, 2.0])[:, None, None] * (1 + 1j)
    predicted = torch.where(left, values + offset, 7)  # other bins do not count
    found = guided.prediction_variance(y, predicted, 0.3)
    residual = 16 * torch.tensor([0.0, 0.1, 2.0]).square()
    torch.testing.assert_close(found[:, left], (0.5 + residual)[:, None].expand(3, int(left.sum())))
    torch.testing.assert_close(found[:, 7, 7], residual)  # known exactly
    fused = y.fuse(predicted, found)
    torch.testing.assert_close(fused[:, ring & ~left], values[:, ring & ~left])
    torch.testing.assert_close(fused[0][left], values[0][left])
    weight = (0.5 + 16 * 2.0**2) / (0.5 + 16 * 2.0**2 + 0.5)
    torch.testing.assert_close(fused[2][left], (predicted + weight * (values - predicted))[2][left])
