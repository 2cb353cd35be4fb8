"""The experiments on the coarse prior: the diffusion's bound, the two-sample test, and what is paired."""

import math

import pytest
import torch

from benchmarks.neighbours.coarse_density import two_sample
from benchmarks.neighbours.coarse_diffusion import Diffusion, fit_diffusion
from benchmarks.neighbours.coarse_prior import TASKS, paired
from tests.model.test_mixture import random_mixture


@pytest.fixture
def samples():
    """Of a Gaussian, float64 (4000, 3), and its Cholesky factor."""
    noise = torch.Generator().manual_seed(0)
    factor = torch.randn(3, 3, generator=noise, dtype=torch.float64).tril()
    return 1.0 + torch.randn(4000, 3, generator=noise, dtype=torch.float64) @ factor.mT, factor


def test_the_bound_of_a_gaussian_is_its_likelihood(samples):
    """An untrained network is the optimal one, and the gap falls as one over the number of steps."""
    values, _ = samples
    model = Diffusion(values, width=8, blocks=1)
    white = model.white(values)
    log_factor = model.factor.diagonal().log().sum()
    truth = (white.square().sum(1) / 2 + 1.5 * math.log(2 * math.pi) + log_factor).mean()
    gaps = [
        model.bound(values, torch.Generator().manual_seed(0), steps, times=50).mean() - truth
        for steps in (50, 1000)
    ]
    assert gaps[0] > 0.1
    assert abs(gaps[1]) < 0.05 * 3


def test_training_lowers_the_bound():
    """Of what is far from Gaussian."""
    mixture = random_mixture(2, 2)
    noise = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = mixture.draw(noise)[0] * 0.2 + 4 * torch.sign(noise[:, :1])
    draws = torch.Generator()
    before = Diffusion(values).bound(values[:500], draws.manual_seed(0)).mean()
    trained, steps = fit_diffusion(values, minutes=0.01)
    assert steps > 1
    assert trained.bound(values[:500], draws.manual_seed(0)).mean() < before


def test_the_two_sample_test():
    noise = torch.randn(3, 60, 4, generator=torch.Generator().manual_seed(0))
    assert two_sample(noise[0], noise[1])["p"] > 0.05
    assert two_sample(noise[0], noise[2] + 1)["p"] < 0.01


def test_discrepancies_are_sums_over_pairs():
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    both = torch.cat([a, b])
    squares = torch.cdist(both, both).square()
    width = squares[squares > 0].median()
    within = [sum(math.exp(-s / width) for s in torch.pdist(one).square()) / 10 for one in (a, b)]
    between = sum(math.exp(-s / width) for s in torch.cdist(a, b).square().flatten()) / 25
    assert two_sample(a, b)["mmd2"] == pytest.approx(sum(within) - 2 * between)


def test_what_the_tasks_measure():
    masks = {name: mask(128, "a.h5") for name, (mask, _) in TASKS.items()}
    counts = [int(mask[60:68, 60:68].sum()) for mask in masks.values()]
    assert counts[:2] == [4, 16]
    assert counts[4:] == [0, 64]
    for name, missing in (
        ("columns 8x, 5 central ones missing", 5),
        ("columns 12x, 3 central ones missing", 3),
    ):
        centre = slice(64 - missing // 2, 64 - missing // 2 + missing)
        assert not masks[name][:, centre].any()
        assert masks[name].any()


def test_pairs():
    row = paired(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 3.5]))
    assert row["change"] == pytest.approx(-1 / 3)
    assert row["standard error"] == pytest.approx(torch.tensor([-0.5, -1.0, 0.5]).std().item() / 3**0.5)
    assert (row["lower"], row["slices"]) == (2, 3)
