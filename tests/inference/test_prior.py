"""Samples of the prior."""

import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.prior import sample_prior
from mri_iahvae.kspace.bands import crop
from mri_iahvae.training.objective import complete
from tests.linear_model import check_samples


def draw(model, elements, temperature=1.0, seed=0):
    return sample_prior(model, Draws(seed, temperature, tuple(elements), torch.device("cpu")))


def test_temperature_zero_is_the_prior_mean(model, kspace):
    mean = complete(model, kspace, 0)
    assert mean.abs().max() > 0
    elements = [Element(0, 0), Element(1, 0), Element(2)]
    torch.testing.assert_close(draw(model, elements, temperature=0.0), mean)
    torch.testing.assert_close(draw(model, elements)[2], mean[2])  # an element that is no sample


def test_samples_have_the_distribution_of_a_linear_model(linear):
    """There the bins are b + A e with e standard normal times the temperature, and no noise is added."""
    temperature = 0.7
    bins = draw(linear, [Element(number // 2, number % 2) for number in range(4000)], temperature)
    for scale in linear.scales:
        mean, matrix = scale.prior()
        values, expected = scale.flat(crop(bins, scale.side)), temperature**2 * matrix @ matrix.T
        # A band may have fewer latents than numbers: project on the directions that vary.
        powers, axes = torch.linalg.eigh(expected)
        axes = axes[:, powers > 1e-4 * powers.max()]
        check_samples(values @ axes, mean @ axes, axes.T @ expected @ axes)
        residue = (values - mean) - (values - mean) @ axes @ axes.T
        assert residue.abs().max() < 1e-2 * powers.max().sqrt()
