"""Noise for samples: the same number wherever it is used again, independent numbers everywhere else."""

import itertools
from typing import get_args

import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.draws import Draws, Element, Purpose

CPU = torch.device("cpu")
SHAPE = (4, 4, 4)


def normal(*elements, seed=0, temperature=1.0, shape=SHAPE, index=3, purpose="latents", count=0):
    elements = tuple(Element(*element) for element in elements)
    return Draws(seed, temperature, elements, CPU).normal(shape, index, purpose, count)


def test_a_draw_depends_on_seed_slice_sample_scale_purpose_and_count_alone():
    found = {}
    for key in itertools.product((0, 2**32 - 1), (0, 10**6), (0, 2), (0, 3), get_args(Purpose), (0, 1)):
        seed, number, sample, index, purpose, count = key
        options = {"seed": seed, "index": index, "purpose": purpose, "count": count}
        found[key] = normal((number, sample), **options)
        assert torch.equal(normal((7, 1), (number, sample), (3, None), **options)[1:2], found[key])
    flat = torch.stack([values.flatten() for values in found.values()])
    # 64 numbers each: correlations of independent ones have a standard deviation of 1/8.
    correlation = torch.corrcoef(flat) - torch.eye(len(flat))
    assert correlation.abs().max() < 0.7
    assert correlation.square().mean().sqrt() == pytest.approx(1 / 8, rel=0.05)


def test_samples_come_in_antithetic_pairs():
    found = normal(*((2, sample) for sample in range(6)))
    assert torch.equal(found[1::2], -found[::2])
    assert not torch.allclose(found[0].abs(), found[2].abs())


def test_elements_that_are_no_samples_draw_zeros():
    found = normal((0, None), (0, 0), (1, None))
    assert not found[[0, 2]].any()
    assert found[1].all()
    assert normal((0, None), (1, None)).shape == (2, *SHAPE)
    draws = Draws(0, 1.0, (Element(0), Element(0, 0)), CPU)
    assert draws.drawn().tolist() == [False, True]
    assert Draws(0, 0.0, draws.elements, CPU).drawn().tolist() == [False, False]


@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
def test_the_temperature_is_a_factor(temperature):
    found = normal((0, 0), (1, 3), temperature=temperature)
    torch.testing.assert_close(found, temperature * normal((0, 0), (1, 3)))


def test_draws_are_standard_normal_and_leave_the_state_of_torch_alone():
    state = torch.get_rng_state()
    values = normal(*((k, 2 * k) for k in range(200)), shape=(500,))
    assert torch.equal(torch.get_rng_state(), state)
    assert values.dtype == torch.float32
    steps = torch.arange(1, values.numel() + 1) / values.numel()
    distance = (Normal(0, 1).cdf(values.double().flatten().sort().values) - steps).abs().max()
    assert distance < 1.95 / values.numel() ** 0.5  # Kolmogorov-Smirnov, 0.1 %


def test_latents_and_bins_of_a_scale(model):
    scale, draws = model.scales[4], Draws(3, 0.5, (Element(5, 0),), CPU)
    for layer, found in enumerate(draws.latents(scale, "posterior")):
        assert torch.equal(found, draws.normal((4, 8, 8), 4, "posterior", layer))
    bins = draws.bins(scale, "noise")
    assert bins.dtype == torch.complex64
    assert torch.equal(torch.view_as_real(bins), draws.normal((16, 16, 2), 4, "noise"))
