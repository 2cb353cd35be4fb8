"""Noise for samples: the same number wherever it is used again, independent numbers everywhere else."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.draws import Draws, Purpose, Row

CPU = torch.device("cpu")
SHAPE = (4, 4, 4)


def normal(*rows, seed=0, temperature=1.0, shape=SHAPE, index=3, purpose="latents", count=0):
    rows = tuple(Row(*row) for row in rows)
    return Draws(seed, temperature, rows, CPU).normal(shape, index, purpose, count)


def test_a_draw_depends_on_seed_slice_sample_scale_purpose_and_count_alone():
    found = {}
    purposes = get_args(Purpose)
    for key in itertools.product((0, 1), (0, 5), (0, 2), (0, 3), purposes, (0, 1)):
        seed, number, sample, index, purpose, count = key
        found[key] = normal((number, sample), seed=seed, index=index, purpose=purpose, count=count)
    for key, values in found.items():
        seed, number, sample, index, purpose, count = key
        batch = normal(
            (7, 1), (number, sample), (3, None), seed=seed, index=index, purpose=purpose, count=count
        )
        assert torch.equal(batch[1:2], values)
    flat = torch.stack([values.flatten() for values in found.values()])
    # 64 numbers each: correlations of independent ones have a standard deviation of 1/8.
    correlation = torch.corrcoef(flat) - torch.eye(len(flat))
    assert correlation.abs().max() < 0.7
    assert correlation.square().mean().sqrt() == pytest.approx(1 / 8, rel=0.05)


def test_seeds_of_32_bits_and_any_slice_number_count():
    draws = [normal((number, 0), seed=seed) for seed in (0, 2**32 - 1) for number in (0, 10**6)]
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(draws, 2))


def test_samples_come_in_pairs_of_opposite_signs():
    found = normal(*((2, sample) for sample in range(6)))
    assert torch.equal(found[1::2], -found[::2])
    assert not torch.allclose(found[0].abs(), found[2].abs())
    assert not torch.allclose(found[2].abs(), found[4].abs())


def test_rows_that_are_no_samples_draw_zeros():
    found = normal((0, None), (0, 0), (1, None))
    assert not found[[0, 2]].any()
    assert found[1].all()
    alone = normal((0, None), (1, None))
    assert alone.shape == (2, *SHAPE)
    assert not alone.any()


@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
def test_the_temperature_is_a_factor(temperature):
    torch.testing.assert_close(
        normal((0, 0), (1, 3), temperature=temperature), temperature * normal((0, 0), (1, 3))
    )


def test_draws_are_standard_normal():
    values = normal(*((k, 2 * k) for k in range(200)), shape=(500,)).double().flatten()
    steps = torch.arange(1, len(values) + 1) / len(values)
    distance = (Normal(0, 1).cdf(values.sort().values) - steps).abs().max()
    assert distance < 1.95 / len(values) ** 0.5  # Kolmogorov-Smirnov, 0.1 %
    assert values.dtype == torch.float64
    assert normal((0, 0)).dtype == torch.float32


def test_bins_are_complex_with_that_deviation_per_part():
    draws = Draws(3, 0.5, tuple(Row(k, 0) for k in range(100)), CPU)
    found = draws.bins(16, 4, "noise")
    assert found.shape == (100, 16, 16)
    assert found.dtype == torch.complex64
    for part in (found.real, found.imag):
        assert float(part.std()) == pytest.approx(0.5, rel=0.02)
        assert abs(float(part.mean())) < 0.01
    assert abs(np.corrcoef(found.real.flatten(), found.imag.flatten())[0, 1]) < 0.04
    assert torch.equal(torch.view_as_real(found), draws.normal((16, 16, 2), 4, "noise"))


def test_the_state_of_torch_does_not_matter_and_is_left_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = normal((0, 0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(normal((0, 0)), first)
