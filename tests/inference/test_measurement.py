"""What is known of each coefficient, and the one formula that fuses it with a prediction."""

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.measurement import Datum, Measurement
from mri_iahvae.kspace.bands import band_mask, crop, embed
from mri_iahvae.kspace.noise import complex_noise

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
        assert torch.equal(y.mask, crop(mask, scale.side) & ring)
        torch.testing.assert_close(y.fraction, y.mask.flatten(1).sum(1) / ring.sum())
        for variance, known, sigma in zip(y.variance, y.mask, SIGMAS, strict=True):
            torch.testing.assert_close(variance[known], torch.full_like(variance[known], sigma**2))
        found += embed(y.value, 16)
    assert torch.equal(found, torch.where(mask, kspace, 0))


def test_fusion_is_the_mean_of_two_gaussians_weighted_by_precision(datum, noise):
    predicted = complex_noise((3, 8, 8), 1.0, noise)
    fused = datum.fuse(predicted, 0.4**2)
    for k, sigma in enumerate(SIGMAS):
        here, known = fused[k], datum.mask[k]
        if sigma:
            model, data = 1 / 0.4**2, 1 / sigma**2
            mean = (model * predicted[k] + data * datum.value[k]) / (model + data)
        else:
            mean = datum.value[k]  # without noise the datum itself
        torch.testing.assert_close(here[known], mean[known])
        assert torch.equal(here[~known], predicted[k][~known])  # imputation: the prediction
        torch.testing.assert_close(datum.weight(0.4**2)[k], known / (2 * (0.4**2 + sigma**2)))
    hard = torch.where(datum.mask, datum.value, predicted)
    torch.testing.assert_close(datum.exact().fuse(predicted, 1e-9), hard)  # as if there were no noise
    assert torch.equal(datum.shown(predicted, fused, "hard"), hard)
    assert datum.shown(predicted, fused, "none") is predicted
    assert datum.shown(predicted, fused, "soft") is fused


def test_data_of_samples_lose_a_draw_of_their_noise(model, measured):
    """The data of other batch elements are left as they are; the model's residual stays in the ring."""
    elements = (Element(0, 0), Element(1), Element(2, 3))
    draws = Draws(0, 1.0, elements, torch.device("cpu"))
    scale = model.scales[3]
    y = measured.at(scale)
    data, residual = measured.perturbed(y, scale, 0.3, draws)
    expected = y.value - torch.tensor(SIGMAS)[:, None, None] * draws.bins(scale, "noise")
    torch.testing.assert_close(data.value, torch.where(y.mask, expected, 0))
    assert torch.equal(data.value[:2], y.value[:2])  # no noise; no sample
    assert torch.equal(data.variance, y.variance)
    torch.testing.assert_close(residual, 0.3 * draws.bins(scale, "model") * band_mask(8))
    assert not residual[1].any()
