"""The guide's estimate as inference takes it: exact where nothing is to be estimated, and within bounds."""

import pytest
import torch

from mri_iahvae.inference.guidance import MOST_ADDED, estimate
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.symmetry import SYMMETRIES
from mri_iahvae.model.estimate import Estimate


@pytest.fixture
def task(noise):
    kspace = complex_noise((4, 20, 18), 1.0, noise)
    mask = torch.rand(4, 20, 18, generator=noise) < 0.4
    return kspace, mask, torch.tensor([0.0, 0.2, 0.0, 0.1])


def fixed(found, variance):
    """A guide that always says the same."""
    return lambda kspace, *_: Estimate.even(found.expand(kspace.shape), variance.expand(kspace.shape))


def test_measured_bins_without_noise_are_kept_to_the_bit(task, guide):
    kspace, mask, sigma = task
    found, dropped = estimate(guide, *task)
    exact = mask & (sigma == 0)[:, None, None]
    assert torch.equal(found.kspace[exact], kspace[exact])
    assert not found.variance[exact].any()
    assert found.variance.isfinite().all()
    assert not dropped.any()


@pytest.mark.parametrize(
    ("value", "variance"), [(1e4, 1.0), (complex("nan"), 1.0), (complex("inf"), 1.0), (0.1, torch.inf)]
)
def test_what_is_out_of_bounds_is_dropped(task, value, variance):
    kspace, mask, sigma = task
    found, dropped = estimate(fixed(torch.tensor([[[value]]]) + 0j, torch.tensor([[[variance]]])), *task)
    assert dropped.all()
    assert torch.equal(found.kspace, torch.where(mask, kspace, 0))
    expected = torch.where(mask, sigma.square()[:, None, None], torch.inf)
    assert torch.equal(found.variance, expected)


def test_each_slice_is_judged_alone_and_nothing_measured_is_no_fault(task):
    kspace, mask, sigma = task
    mask[1] = False
    kspace = kspace.clone()
    kspace[2] *= 1e-3
    energy = (mask[0] * kspace[0].abs().square()).sum() * MOST_ADDED / 2
    level = (energy / (~mask[0]).sum()).sqrt()
    found, dropped = estimate(fixed(level[None, None, None] + 0j, torch.ones(1, 1, 1)), kspace, mask, sigma)
    assert dropped.tolist() == [False, False, True, False]
    assert found.variance[1].isinf().all()  # nothing is known of it
    assert not found.kspace[1].any()
    assert torch.equal(found.kspace[0][~mask[0]], level.expand(kspace[0].shape)[~mask[0]] + 0j)


def test_estimates_of_symmetric_copies_are_averaged(task, guide):
    """A guide without a sense of direction or phase says the same of each; another one says the mean."""
    kspace, mask, sigma = task
    one, both = (estimate(guide, *task, symmetries=count)[0] for count in (1, 2))
    other, _ = estimate(guide, SYMMETRIES[1].apply(kspace), SYMMETRIES[1].flip(mask), sigma)
    expected = (one.kspace + SYMMETRIES[1].undo(other.kspace)) / 2
    torch.testing.assert_close(both.kspace, torch.where(mask & (sigma == 0)[:, None, None], kspace, expected))
    assert not torch.allclose(one.kspace, both.kspace)
    assert torch.equal(one.variance, both.variance)
