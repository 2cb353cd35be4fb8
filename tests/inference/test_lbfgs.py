"""Batched L-BFGS on functions whose minimum is known."""

from itertools import pairwise

import pytest
import torch

from mri_iahvae.inference.lbfgs import minimise

BATCH, SIZE = 5, 12


@pytest.fixture
def quadratic(noise):
    """Batched (x - m)^T H (x - m) / 2 + 1; gives the function, its minima m, H and a start."""
    root = torch.randn(BATCH, SIZE, SIZE, generator=noise)
    hessian = root @ root.mT / SIZE + torch.eye(SIZE)
    minimum = torch.randn(BATCH, SIZE, generator=noise)
    return bowl(hessian, minimum), minimum, hessian, torch.randn(BATCH, SIZE, generator=noise)


def bowl(hessian, minimum):
    def evaluate(x):
        slope = (hessian @ (x - minimum)[..., None])[..., 0]
        return 1 + ((x - minimum) * slope).sum(1) / 2, slope

    return evaluate


def with_gradient(function):
    """Objective and gradient of a function of (B, n)."""

    def evaluate(x):
        x = x.detach().requires_grad_()
        values = function(x)
        return values.detach(), torch.autograd.grad(values.sum(), x)[0]

    return evaluate


def counted(evaluate):
    """The same function, and a list that grows by what it returned."""
    seen = []

    def call(x):
        seen.append(evaluate(x))
        return seen[-1]

    return call, seen


def solve(evaluate, start, steps, diagonal=None, **options):
    diagonal = torch.ones_like(start) if diagonal is None else diagonal
    return minimise(evaluate, start, diagonal, steps=steps, **options)


def test_the_minimum_of_a_quadratic_is_that_of_the_linear_system(quadratic, noise):
    _, _, hessian, start = quadratic
    right = torch.randn(BATCH, SIZE, generator=noise)
    copy, diagonal = start.clone(), torch.ones_like(start)

    def evaluate(x):
        product = (hessian @ x[..., None])[..., 0]
        return (x * product).sum(1) / 2 - (x * right).sum(1), product - right

    found, used = solve(evaluate, start, 3 * SIZE, diagonal)
    torch.testing.assert_close(found, torch.linalg.solve(hessian, right), rtol=1e-3, atol=1e-3)
    assert ((used > SIZE) & (used <= 3 * SIZE)).all()  # rounding ends it where no step can lower it any more
    assert used.dtype == torch.int64
    assert torch.equal(start, copy)
    assert torch.equal(diagonal, torch.ones_like(start))


def test_the_diagonal_of_the_inverse_hessian_saves_steps(noise):
    """A diagonal Hessian of condition 10^4: from its inverse the second step lands on the minimum."""
    curvatures = torch.logspace(-2, 2, SIZE).expand(BATCH, SIZE)
    minimum, start = torch.randn(2, BATCH, SIZE, generator=noise)
    evaluate = bowl(torch.diag_embed(curvatures), minimum)
    for factor in (1.0, 1e-3, 1e3):  # it need only be right up to a factor
        found, _ = solve(evaluate, start, 3, factor / curvatures)
        torch.testing.assert_close(found, minimum, rtol=1e-3, atol=1e-3)
    plain, _ = solve(evaluate, start, 12)
    assert ((plain - minimum).abs().amax(1) > 0.01).all()


def test_one_that_fails_does_not_disturb_the_others(quadratic):
    evaluate, _, _, start = quadratic

    def broken(x):
        values, gradient = evaluate(x)
        return torch.where(torch.arange(BATCH) == 2, torch.nan, values), gradient

    found, _ = solve(broken, start, 20)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(found[others], solve(evaluate, start, 20)[0][others])
    assert torch.equal(found[2], start[2])


def rosenbrock(x):
    return ((1 - x[:, 0]).square() + 100 * (x[:, 1] - x[:, 0].square()).square()) / 50


def with_a_wall(x):
    """Convex, falling towards a wall at radius 1 beyond which neither it nor its gradient is defined."""
    return x.sum(1) - (1 - x.square().sum(1)).sqrt()


def infinite_outside(x):
    return torch.where(x.abs().amax(1) < 1, (x - 0.9).square().sum(1), torch.inf)


@pytest.mark.parametrize("function", [rosenbrock, with_a_wall, infinite_outside])
@pytest.mark.parametrize("ratio", [1e-2, 1.0, 1e2])
def test_more_steps_never_end_higher(noise, function, ratio):
    """Not even where the valley is bent, or where a step may leave the domain; nor with a wrong diagonal."""
    start = 0.4 * torch.randn(BATCH, 2, generator=noise).clamp(-1, 1)  # within all domains
    evaluate, diagonal = with_gradient(function), torch.tensor([[1.0, ratio]]).expand(BATCH, 2)
    values = [evaluate(solve(evaluate, start, steps, diagonal)[0])[0] for steps in range(25)]
    for before, after in pairwise(values):
        assert (after <= before + 1e-6).all()
    assert (values[-1] < values[0] - 1e-2).all()


def path(function, start, steps):
    """Where a function of one number, (B, 1), is evaluated: (steps, B)."""
    places = []

    def visited(x):
        places.append(x[:, 0])
        return function(x)

    solve(with_gradient(visited), start, steps)
    return torch.stack(places)


def test_a_step_too_long_goes_back_to_the_minimum_of_the_parabola():
    """But to a tenth of it at least. The first step is 0.05 long, as nothing is known of the curvature yet."""
    start = torch.tensor([[0.01], [0.02], [0.001]])
    places = path(lambda x: 500 * x.square().sum(1), start, 3)
    torch.testing.assert_close(places[1], start[:, 0] - 0.05)
    torch.testing.assert_close(places[2], torch.tensor([0.0, 0.0, 0.001 - 0.005]))


@pytest.mark.parametrize("outside", [torch.inf, torch.nan])
def test_a_step_out_of_the_domain_is_tried_again_at_a_tenth(outside):
    places = path(lambda x: torch.where(x[:, 0] < 1e-3, -x[:, 0], outside), torch.tensor([[0.0]]), 4)
    torch.testing.assert_close(places[:, 0], torch.tensor([0.0, 0.05, 0.005, 0.0005]))


def test_a_search_that_leads_nowhere_is_given_up():
    """After the start, a whole step, a tenth of it and a hundredth."""
    _, used = solve(with_gradient(lambda x: 1e9 * x.square().sum(1)), torch.full((1, 1), 1e-9), 50)
    assert used == 4


def test_where_the_function_bends_down_its_curvature_tells_nothing():
    """The factor of the first step, 0.05 over its gradient of 0.1, stays."""
    places = path(lambda x: -x.square().sum(1) / 2, torch.tensor([[0.1]]), 4)
    torch.testing.assert_close(places[:, 0], 0.1 * 1.5 ** torch.arange(4))


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_steps_are_evaluations(quadratic, steps):
    """The first one moves nothing."""
    evaluate, _, _, start = quadratic
    call, seen = counted(evaluate)
    found, used = solve(call, start, steps)
    assert len(seen) == steps
    assert (used == steps).all()
    assert torch.equal(found, start) == (steps < 2)


def test_tolerance_stops_each_batch_element_when_it_has_converged(quadratic):
    """They start at different distances; each stops once a step gains less than the fraction."""
    evaluate, minimum, _, start = quadratic
    start = minimum + torch.logspace(-2, 3, BATCH)[:, None] * (start - minimum)
    call, seen = counted(evaluate)
    found, used = solve(call, start, 100, tolerance=1e-3)
    assert used[0] < used[-1] < 100
    assert used.max() <= len(seen) <= used.max() + 4  # all are done: nothing more is evaluated
    assert (evaluate(found)[0] < 1 + 0.05).all()
    for k in range(BATCH):  # without the tolerance the same path goes on
        torch.testing.assert_close(solve(evaluate, start, int(used[k]))[0][k], found[k])


@pytest.mark.parametrize(("beyond", "moved"), [(1e-6, False), (-1e-6, False), (-1e-5, True)])
def test_a_step_must_lower_the_objective_by_a_fraction_of_what_its_slope_says(beyond, moved):
    """The very first step is 0.05 long; the minimum lies next to its middle, so that both its ends are as high."""
    minimum = torch.tensor([[0.025 - beyond]], dtype=torch.float64)
    found, _ = solve(bowl(torch.eye(1, dtype=torch.float64), minimum), torch.zeros_like(minimum), 2)
    assert bool(found) == moved
