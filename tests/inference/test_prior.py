"""Samples of the prior."""

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.prior import sample_prior
from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.model.iahvae import complete

CPU = torch.device("cpu")


def draw(model, rows, temperature=1.0, seed=0):
    return sample_prior(model, Draws(seed, temperature, tuple(rows), CPU))


def test_temperature_zero_is_the_prior_mean(model):
    bins = draw(model, [Row(0, 0), Row(1, 0), Row(2)], temperature=0.0)
    mean = complete(model, -1, None, torch.zeros(1, 0, 0, dtype=torch.complex64))
    torch.testing.assert_close(bins, mean.expand(3, -1, -1))
    assert bins.abs().max() > 0
    torch.testing.assert_close(draw(model, [Row(0)], temperature=1.0), mean)  # a row that is no sample


def test_samples_have_the_distribution_of_a_linear_model(linear, check_samples):
    """There the bins are b + A e with e standard normal times the temperature, and no noise is added."""
    temperature = 0.7
    bins = draw(linear, [Row(number // 2, number % 2) for number in range(4000)], temperature)
    for index in range(3):
        s = 2**index
        band = crop(bins, s)
        mean, matrix = linear.prior_of(index)
        values = torch.cat([band.real.flatten(1), band.imag.flatten(1)], dim=1)[
            :, band_mask(s).flatten().repeat(2)
        ]
        expected = temperature**2 * matrix @ matrix.T
        # A band may have fewer latents than numbers: project on the directions that vary.
        powers, axes = torch.linalg.eigh(expected)
        axes = axes[:, powers > 1e-4 * powers.max()]
        check_samples(values @ axes, mean @ axes, axes.T @ expected @ axes)
        residue = (values - mean) - (values - mean) @ axes @ axes.T
        assert residue.abs().max() < 1e-2 * powers.max().sqrt()


def test_a_sample_depends_on_seed_and_number_alone(model):
    together = draw(model, [Row(number, 0) for number in range(5)])
    alone = torch.cat([draw(model, [Row(number, 0)]) for number in range(5)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together, draw(model, [Row(number, 0) for number in range(5)], seed=1))
    for a in range(5):
        for b in range(a):
            assert (together[a] - together[b]).abs().mean() > 0.1


def test_temperature_spreads_the_samples(model):
    rows = [Row(number, 0) for number in range(20)]
    mean = draw(model, [Row(0)])
    spreads = [float((draw(model, rows, t) - mean).abs().square().mean().sqrt()) for t in (0.01, 0.02, 1.0)]
    assert spreads[1] == pytest.approx(2 * spreads[0], rel=0.1)  # linear while small
    assert spreads[2] > 10 * spreads[1]


def test_no_gradients_are_kept(make_model):
    bins = draw(make_model().requires_grad_(), [Row(0, 0)])
    assert bins.dtype == torch.complex64
    assert not bins.requires_grad
