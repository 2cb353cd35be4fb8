"""Refinement: the objective is the negative log posterior of the latents, and its minimum is found."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.kspace.noise import complex_noise

SIGMA = 0.4


@pytest.fixture(params=[0, 2, 4])
def index(request):
    """Scales 1, 4, and 16."""
    return request.param


@pytest.fixture
def problem(model, kspace, index, noise):
    """Half of a band measured, from a random context, and a prior about a random centre."""
    s, scale = 2**index, model.config.scales[index]
    h = torch.randn(3, scale.channels, s // scale.patch, s // scale.patch, generator=noise)
    mask = band_mask(s) & ((torch.rand(3, s, s, generator=noise) < 0.5) | (s == 1))
    centre = latents(model, index, noise)
    return Problem(model, index, h, centre, crop(kspace, s) * mask, mask / (2 * SIGMA**2))


@pytest.fixture
def start(model, index, noise):
    return latents(model, index, noise)


def latents(model, index, noise, count=3):
    shape = count, *model.latent_shape(index)
    return [torch.randn(shape, generator=noise) for _ in range(len(model.layers(index)))]


def refined(problem, start, steps, **options):
    spread = options.pop("spread", [torch.ones_like(e) for e in start])
    return refine(problem, start, spread, steps=steps, **options)[0]


def gradients(problem, whitened):
    whitened = [e.detach().requires_grad_() for e in whitened]
    return torch.autograd.grad(problem.objective(whitened).sum(), whitened)


def size(tensors):
    """Norm of each row of all tensors together."""
    return torch.cat([e.flatten(1) for e in tensors], dim=1).norm(dim=1)


def test_objective_is_the_negative_log_posterior(problem, start, noise):
    """Up to a constant: its differences are those of -log p(e) - log p(y | e), by torch.distributions."""

    def negative_log_joint(whitened):
        bins = problem.model.band(problem.index, problem.model.descend(problem.index, problem.h, whitened)[0])
        pairs = zip(whitened, problem.centre, strict=True)
        total = -sum(Normal(c, 1).log_prob(e).flatten(1).sum(1) for e, c in pairs)
        for part in (torch.real, torch.imag):
            likelihood = Normal(part(bins), SIGMA).log_prob(part(problem.data))
            total = total - torch.where(problem.weight > 0, likelihood, 0).flatten(1).sum(1)
        return total

    other = [e + 0.3 * torch.randn(e.shape, generator=noise) for e in start]
    expected = negative_log_joint(other) - negative_log_joint(start)
    found = problem.objective(other) - problem.objective(start)
    assert (found.abs() > 1e-3).all()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(problem.objective(start).max()))


def test_objective_ignores_unmeasured_bins(problem, start, noise):
    change = (problem.weight == 0) * torch.randn(problem.data.shape, generator=noise)
    spoiled = replace(problem, data=problem.data + change)
    assert torch.equal(problem.objective(start), spoiled.objective(start))
    nothing = replace(problem, weight=0 * problem.weight)
    distance = sum((e - c).square().flatten(1).sum(1) for e, c in zip(start, problem.centre, strict=True))
    torch.testing.assert_close(nothing.objective(start), distance / 2)


def test_objective_of_later_layers_is_that_of_all_less_the_earlier_prior(problem, start):
    h, _ = problem.model.descend(problem.index, problem.h, start[:1])
    part = problem.objective(start[1:], 1, h)
    earlier = (start[0] - problem.centre[0]).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(part + earlier, problem.objective(start), rtol=1e-4, atol=1e-4)


def test_gradient_agrees_with_finite_differences(problem, start, noise):
    for layer, gradient in enumerate(gradients(problem, start)):
        for _ in range(3):
            direction = torch.randn(gradient.shape, generator=noise)
            direction = direction / direction.norm() + gradient / gradient.norm()
            ends = []
            for step in (0.02, -0.02):
                moved = [e + step * direction * (k == layer) for k, e in enumerate(start)]
                ends.append(problem.objective(moved).double().sum())
            slope = (ends[0] - ends[1]) / 0.04
            assert slope.item() == pytest.approx(float((gradient * direction).sum()), rel=0.03)


@pytest.fixture(params=["lbfgs", "adam"])
def optimizer(request):
    return request.param


@pytest.fixture(params=["joint", "sequential"])
def schedule(request):
    return request.param


def test_refinement_lowers_the_objective_of_each_slice(problem, start, optimizer, schedule):
    found = [refined(problem, start, n, optimizer=optimizer, schedule=schedule) for n in (0, 6, 40)]
    before, few, many = (problem.objective(whitened) for whitened in found)
    assert (few < before).all()
    assert (many < before).all()
    if schedule == "joint":  # later layers are held at the start: a better first layer may end higher
        assert (many < few).all()


AT_4 = pytest.mark.parametrize("index", [2], indirect=True)  # one scale where many steps are taken


@AT_4
def test_joint_refinement_finds_a_stationary_point(problem, start, optimizer):
    found = refined(problem, start, 150 if optimizer == "adam" else 50, optimizer=optimizer)
    assert (size(gradients(problem, found)) < 0.05 * size(gradients(problem, start))).all()


@AT_4
def test_optimizers_reach_the_same_minimum(problem, start):
    found = refined(problem, start, 60)
    near = [e + 0.2 for e in found]  # which of several minima is found from afar is chance
    adam = refined(problem, near, 150, optimizer="adam")
    assert (problem.objective(near) > problem.objective(found) + 1).all()
    torch.testing.assert_close(problem.objective(adam), problem.objective(found), rtol=2e-3, atol=0.02)


@AT_4
def test_the_spread_is_a_preconditioner_not_a_goal(problem, start, noise):
    """Whatever it is, the same minimum is reached from nearby."""
    near = refined(problem, start, 60)
    spread = [0.3 + torch.rand(e.shape, generator=noise) for e in start]
    far = [e + 0.05 for e in near]
    for options in ({}, {"spread": spread}):
        found = refined(problem, far, 60, **options)
        assert (size([a - b for a, b in zip(found, near, strict=True)]) < 0.1 * size(near)).all()


@AT_4
def test_sequential_refines_one_layer_after_the_other_with_later_ones_held(
    make_model, problem, index, noise, optimizer
):
    """At its end every layer is stationary given the refined layers before it and the start of those after it."""
    model = make_model(layers=3)
    start, centre = latents(model, index, noise), latents(model, index, noise)
    problem = replace(problem, model=model, centre=centre)
    steps = 120 if optimizer == "adam" else 50
    found = refined(problem, start, steps, schedule="sequential", optimizer=optimizer)
    for j in range(3):
        before, after = found[:j], start[j + 1 :]
        ending = gradients(problem, [*before, found[j], *after])[j].flatten(1).norm(dim=1)
        beginning = gradients(problem, [*before, start[j], *after])[j].flatten(1).norm(dim=1)
        assert (ending < (0.2 if optimizer == "adam" else 0.05) * beginning).all()
    joint = refined(problem, start, steps, optimizer=optimizer)
    assert (problem.objective(joint) < problem.objective(found)).all()


def test_steps_are_counted_per_layer_where_the_schedule_is_sequential(problem, start, optimizer, schedule):
    calls = []

    class Counted(Problem):
        def objective(self, *args):
            calls.append(1)
            return super().objective(*args)

    counted = Counted(**vars(problem))
    spread = [torch.ones_like(e) for e in start]
    _, used = refine(counted, start, spread, steps=3, optimizer=optimizer, schedule=schedule)
    expected = 3 if schedule == "joint" else 3 * len(start)
    assert used.tolist() == [expected] * 3
    assert len(calls) == expected


def test_no_steps_return_the_start(problem, start, optimizer, schedule):
    found = refined(problem, start, 0, optimizer=optimizer, schedule=schedule)
    for a, b in zip(found, start, strict=True):
        assert torch.equal(a, b)


def test_the_start_is_left_alone(problem, start, optimizer, schedule):
    copies = [e.clone() for e in start]
    refined(problem, start, 3, optimizer=optimizer, schedule=schedule)
    assert all(torch.equal(a, b) for a, b in zip(copies, start, strict=True))
    assert not any(e.requires_grad for e in start)


@AT_4
def test_without_data_refinement_returns_to_the_centre(problem, start, optimizer):
    nothing = replace(problem, weight=0 * problem.weight)
    found = refined(nothing, start, 200 if optimizer == "adam" else 10, optimizer=optimizer)
    for e, c in zip(found, problem.centre, strict=True):
        torch.testing.assert_close(e, c, rtol=0, atol=0.05)


def test_a_slice_does_not_depend_on_its_batch(problem, start, optimizer, schedule):
    together = refined(problem, start, 10, optimizer=optimizer, schedule=schedule)
    for k in range(3):
        one = slice(k, k + 1)
        single = replace(
            problem,
            h=problem.h[one],
            centre=[c[one] for c in problem.centre],
            data=problem.data[one],
            weight=problem.weight[one],
        )
        alone = refined(single, [e[one] for e in start], 10, optimizer=optimizer, schedule=schedule)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a, b[one], rtol=1e-3, atol=1e-3)


def linear_problem(linear, index, noise, count):
    """A problem whose every second bin is measured, and its posterior by hand: mean and covariance of e."""
    s = 2**index
    mask = torch.arange(s * s).reshape(s, s) % 2 == 0
    weight = mask * band_mask(s) / (2 * SIGMA**2)
    data = complex_noise((1, s, s), 1.0, noise)
    h = linear.context(index, None, torch.zeros(count))
    centre = [torch.zeros(count, *linear.latent_shape(index))] * 2
    problem = Problem(linear, index, h, centre, data.expand(count, -1, -1), weight.expand(count, -1, -1))
    offset, matrix = linear.prior_of(index)
    measured = mask[band_mask(s)].repeat(2)
    ring = data[0][band_mask(s)]
    misfit = (torch.cat((ring.real, ring.imag)) - offset)[measured]
    matrix = matrix[measured]
    precision = torch.eye(matrix.shape[1]) + matrix.T @ matrix / SIGMA**2
    covariance = torch.linalg.inv(precision)
    return problem, covariance @ matrix.T @ misfit / SIGMA**2, covariance


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_minimum_of_a_linear_model_is_its_posterior_mean(linear, index, noise, optimizer):
    problem, mean, _ = linear_problem(linear, index, noise, 4)
    start = latents(linear, index, noise, 4)
    found = refined(problem, start, 60 if optimizer == "lbfgs" else 600, optimizer=optimizer)
    flat = torch.cat([e.flatten(1) for e in found], dim=1)
    tolerance = 2e-3 if optimizer == "lbfgs" else 0.03
    torch.testing.assert_close(flat, mean.expand(4, -1), rtol=0, atol=tolerance)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_minima_of_perturbed_problems_are_posterior_samples(linear, index, noise, check_samples):
    """Centre and data perturbed by draws from prior and noise, in antithetic pairs: mean and covariance."""
    count = 2000
    problem, mean, covariance = linear_problem(linear, index, noise, count)
    drawn = latents(linear, index, noise, count // 2)
    bins = complex_noise((count // 2, 2**index, 2**index), SIGMA, noise)
    perturbed = replace(
        problem,
        centre=[torch.cat((e, -e)) for e in drawn],
        data=problem.data - torch.cat((bins, -bins)),
    )
    found = refined(perturbed, [torch.zeros_like(c) for c in perturbed.centre], 60)
    check_samples(torch.cat([e.flatten(1) for e in found], dim=1), mean, covariance)
