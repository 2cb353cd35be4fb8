"""Conformal risk control, against its definition and its guarantee."""

import math

import numpy as np
import pytest

from mri_iahvae.evaluation.conformal import conformal_factor


def ragged(rng, count, ties=False):
    """Scores of some slices of 1 to 29 pixels."""
    scores = [rng.exponential(size=rng.integers(1, 30)) * rng.uniform(0.5, 2) for _ in range(count)]
    return [one.round(1) for one in scores] if ties else scores


def holds(scores, factor, level):
    """The bound as it is printed."""
    outside = [(one > factor).mean() for one in scores]
    return (sum(outside) + 1) / (len(scores) + 1) <= 1 - level + 1e-9


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_it_is_the_smallest_score_at_which_the_bound_holds(rng, level, ties):
    for count in (9, 14, 40):
        scores = ragged(rng, count, ties)
        candidates = [value for value in np.concatenate(scores) if holds(scores, value, level)]
        found = conformal_factor(scores, level)
        assert found == min(candidates)
        assert not holds(scores, np.nextafter(found, 0), level)


def test_of_one_pixel_in_each_slice_it_is_the_quantile_of_split_conformal_prediction(rng):
    values = rng.normal(size=57)
    found = conformal_factor([values[i : i + 1] for i in range(57)], 0.9)
    assert found == np.sort(values)[math.ceil(58 * 0.9) - 1]


def test_of_too_few_slices_there_is_none(rng):
    assert math.isinf(conformal_factor(ragged(rng, 8), 0.9))
    nine = ragged(rng, 9)
    assert conformal_factor(nine, 0.9) == max(one.max() for one in nine)
    assert math.isinf(conformal_factor([], 0.9))


def test_new_exchangeable_slices_are_covered_and_not_far_beyond(rng):
    """Slices differ in the scale of their errors, and pixels of one slice go together; means over calibrations."""
    covered, count = [], 19

    def slices(number):
        scale, common = np.exp(0.5 * rng.normal(size=(2, number, 1)))
        return scale * np.abs(common + 0.3 * rng.normal(size=(number, 40)))

    for _ in range(3000):
        factor = conformal_factor(list(slices(count)), 0.8)
        covered.append((slices(1) <= factor).mean())
    mean, error = np.mean(covered), np.std(covered) / np.sqrt(len(covered))
    assert mean > 0.8 - 3 * error
    assert mean < 0.8 + 2 / (count + 1) + 3 * error  # its converse, for a loss of at most 1
