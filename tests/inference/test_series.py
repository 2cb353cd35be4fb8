"""The filter over frames: its formulas by brute force, and its limits."""

import pytest
import torch

from mri_iahvae.inference import series
from mri_iahvae.inference.series import Belief, Frames, fuse, predict, predictions, update
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.octaves import OCTAVES, octaves

SIZE = 16


class Consistent:
    """A guide that knows nothing but what it is given."""

    @staticmethod
    def update(kspace, mask, _sigma, predicted, _spread):
        return torch.where(mask, kspace, predicted)


@pytest.fixture
def still(monkeypatch):
    """Nothing moves."""
    monkeypatch.setattr(series, "find_displacement", lambda moving, *_: torch.zeros(len(moving), 2, 2, 2))


@pytest.fixture
def full(noise):
    """Four times the same bins, (4, 16, 16)."""
    return complex_noise((1, SIZE, SIZE), 1.0, noise).expand(4, SIZE, SIZE)


def frames(full, mask, variance):
    """What a guide that knows nothing says: zero, with a variance."""
    known = torch.where(mask, 0.0, variance)
    return Frames(torch.where(mask, full, 0), mask, torch.zeros(len(full)), torch.where(mask, full, 0), known)


def complementary():
    """Every fourth column, others in each frame, and the central ones."""
    numbers = torch.arange(SIZE)
    columns = (numbers % 4 == torch.arange(4)[:, None]) | ((numbers - SIZE // 2).abs() < 2)
    return columns[:, None].expand(4, SIZE, SIZE)


@pytest.mark.usefixtures("still")
def test_frames_at_rest_add_up_to_the_full_data(full):
    given = frames(full, complementary(), 40.0)
    found = update(Consistent, given, predictions(Consistent, given))
    torch.testing.assert_close(found.bins, full, atol=1e-4, rtol=0)
    assert found.variance.max() < 1e-6


def test_nothing_is_predicted_of_a_single_frame(full, guide):
    given = frames(full[:1], complementary()[:1], 4.0)
    predicted = predictions(guide, given)
    assert predicted.variance.isinf().all()
    found = update(guide, given, predicted, symmetries=2)
    assert torch.equal(found.bins, given.bins)
    assert torch.equal(found.variance, given.variance)


def test_a_prediction_of_unbounded_innovation_changes_nothing(noise, guide):
    kspace = complex_noise((2, SIZE, SIZE), 1.0, noise)
    mask, sigma = torch.rand(2, SIZE, SIZE, generator=noise) < 0.5, torch.tensor([0.0, 0.3])
    alone = guide(kspace, mask, sigma)
    given = Frames(kspace, mask, sigma, alone.kspace, alone.variance)
    found = update(guide, given, Belief(10 * kspace.flip(-1), torch.full_like(alone.variance, 1e12)))
    torch.testing.assert_close(found.bins, alone.kspace, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.variance, alone.variance)


@pytest.mark.usefixtures("still")
def test_the_innovation_is_what_state_and_noise_do_not_explain(noise, full):
    mask = torch.rand(4, SIZE, SIZE, generator=noise) < 0.5
    mask[0] &= octaves(mask) > 0
    here = frames(full, mask, 9.0)._replace(sigma=torch.full((4,), 0.1))
    state = Belief(complex_noise((4, SIZE, SIZE), 2.0, noise), torch.rand(4, SIZE, SIZE, generator=noise))
    bins, variance = predict(state, here)
    ring = octaves(here.mask)
    for frame in range(4):
        for octave in range(OCTAVES):
            where = here.mask[frame] & (ring == octave)
            excess = (bins - full)[frame][where].abs().square() / 2 - state.variance[frame][where] - 0.01
            expected = max(0.0, float(excess.mean())) if where.any() else torch.inf
            added = (variance - state.variance)[frame][ring == octave]
            torch.testing.assert_close(added, torch.full_like(added, expected), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("still")
def test_a_frame_without_data_keeps_its_estimate_and_spoils_no_other(full):
    mask = complementary().clone()
    mask[1] = False
    given = frames(full, mask, 4.0)
    given.variance[1] = torch.inf
    found = update(Consistent, given, predictions(Consistent, given))
    assert not found.bins[1].any()
    assert found.variance[1].isinf().all()
    assert found.bins.isfinite().all()
    seen = mask[2] | mask[3]
    torch.testing.assert_close(found.bins[2][seen], full[2][seen], atol=1e-4, rtol=0)


def test_predictions_are_weighted_by_their_precision(noise):
    one, other = (
        Belief(complex_noise((1, 3, 2), 1.0, noise), torch.rand(1, 3, 2, generator=noise)) for _ in "ab"
    )
    one.variance[0, 0, 0] = other.variance[0, 1, 0] = torch.inf
    bins, variance = fuse(one, other)
    weights = 1 / one.variance, 1 / other.variance
    torch.testing.assert_close(bins, (weights[0] * one.bins + weights[1] * other.bins) / sum(weights))
    assert torch.equal(variance, torch.minimum(one.variance, other.variance))
