"""Refinement of one scale: J is the negative log posterior of the latents, and its minimum is found."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.infer import Problem
from mri_iahvae.inference.measurement import Datum
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop

SIGMA = 0.4


@pytest.fixture(params=[0, 2, 4])
def scale(model, request):
    """Scales 1, 4 and 16."""
    return model.scales[request.param]


@pytest.fixture
def problem(model, kspace, scale, noise):
    """Half of a band measured, from a random context, and a prior about a random centre."""
    s, r = scale.side, scale.resolution
    h = torch.randn(3, scale.bias.shape[0], r, r, generator=noise)
    mask = model.decomposition.ring(scale.index) & ((torch.rand(3, s, s, generator=noise) < 0.5) | (s == 1))
    variance = torch.where(mask, SIGMA**2 / 2, torch.inf)  # the other half is the model's
    y = Datum(crop(kspace, s) * mask, variance, torch.ones(3))
    return Problem(scale, h, y, latents(scale, noise), SIGMA**2 / 2, lambda: (None, None))


def latents(scale, noise, count=3):
    return [torch.randn(count, *latent.shape, generator=noise) for latent in scale.latents]


@pytest.fixture
def start(scale, noise):
    return latents(scale, noise)


def refined(problem, start, steps, std=None, **options):
    std = [torch.ones_like(e) for e in start] if std is None else std
    return refine(problem, start, std, InferenceSettings(steps=steps, **options))[0]


def gradients(function, whitened):
    whitened = [e.detach().requires_grad_() for e in whitened]
    values = function(whitened)
    return values.detach(), torch.autograd.grad(values.sum(), whitened)


def size(tensors):
    """Norm of each batch element of all tensors together."""
    return torch.cat([e.flatten(1) for e in tensors], dim=1).norm(dim=1)


def test_the_objective_is_the_negative_log_posterior(problem, start, noise):
    """By torch.distributions: its differences, because constants are left out, and its gradient."""

    def negative_log_joint(whitened):
        bins = problem.scale.bins(problem.scale.run(problem.h, whitened))
        pairs = zip(whitened, problem.e0, strict=True)
        total = -sum(Normal(centre, 1.0).log_prob(e).flatten(1).sum(1) for e, centre in pairs)
        for part in (torch.real, torch.imag):
            likelihood = Normal(part(bins), SIGMA).log_prob(part(problem.y.value))
            total = total - torch.where(problem.y.known, likelihood, 0).flatten(1).sum(1)
        return total

    other = [e + 0.3 * torch.randn(e.shape, generator=noise) for e in start]
    (here, slope), (there, _) = (gradients(problem.objective, e) for e in (start, other))
    (expected_here, expected_slope), (expected_there, _) = (
        gradients(negative_log_joint, e) for e in (start, other)
    )
    close = {"rtol": 1e-3, "atol": 1e-3 * float(here.max())}
    torch.testing.assert_close(there - here, expected_there - expected_here, **close)
    for found, expected in zip(slope, expected_slope, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_objective_of_later_layers_is_that_of_all_less_the_earlier_prior(problem, start):
    h = problem.scale.run(problem.h, start[:1])
    part = problem.objective(start[1:], 1, h)
    earlier = (start[0] - problem.e0[0]).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(part + earlier, problem.objective(start), rtol=1e-4, atol=1e-4)


@pytest.fixture(params=["lbfgs", "adam"])
def optimizer(request):
    return request.param


@pytest.fixture(params=["joint", "sequential"])
def schedule(request):
    return request.param


def test_refinement_lowers_the_objective_of_each_batch_element(problem, start, optimizer, schedule):
    """The start is left alone, and returned where no step is taken."""
    copies = [e.clone() for e in start]
    none, few, many = (refined(problem, start, n, optimizer=optimizer, schedule=schedule) for n in (0, 6, 40))
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(copies, none, start, strict=True))
    before, after, last = (problem.objective(e) for e in (start, few, many))
    assert (after < before).all()
    assert (last < before).all()
    if schedule == "joint":  # later layers are held at the start: a better first layer may end higher
        assert (last < after + 1e-3).all()


AT_4 = pytest.mark.parametrize("scale", [2], indirect=True)  # one scale where many steps are taken


@AT_4
def test_from_nearby_the_same_minimum_is_reached(problem, start, noise):
    """By either optimizer, and with any preconditioner. (Which of several minima is found from afar is chance.)"""
    found = refined(problem, start, 60)
    (_, end), (_, beginning) = (gradients(problem.objective, e) for e in (found, start))
    assert (size(end) < 0.05 * size(beginning)).all()  # the objective is flat there
    near, lowest = [e + 0.1 for e in found], problem.objective(found)
    std = [0.3 + torch.rand(e.shape, generator=noise) for e in start]
    for options in ({"steps": 60}, {"steps": 60, "std": std}, {"steps": 150, "optimizer": "adam"}):
        again = refined(problem, near, **options)
        torch.testing.assert_close(problem.objective(again), lowest, rtol=2e-3, atol=0.02)


@AT_4
def test_sequential_refines_one_layer_after_the_other_with_later_ones_held(make_model, problem, noise):
    """At its end every layer is stationary given the refined layers before it and the start of those after it."""
    scale = make_model(layers=3).scales[2]
    start = latents(scale, noise)
    problem = replace(problem, scale=scale, e0=latents(scale, noise))
    found = refined(problem, start, 50, schedule="sequential")
    for j in range(3):
        before, after = found[:j], start[j + 1 :]
        ending, beginning = (
            gradients(problem.objective, [*before, e[j], *after])[1][j].flatten(1).norm(dim=1)
            for e in (found, start)
        )
        assert (ending < 0.05 * beginning).all()
    assert (problem.objective(refined(problem, start, 50)) < problem.objective(found)).all()
