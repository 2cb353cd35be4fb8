"""What the benchmark of expected errors measures, by its definitions."""

import numpy as np
import pytest

from benchmarks.beyond.uncertainty import of_regions, summary, worst_tenth


def test_regions_are_means_over_the_object_alone(rng):
    values, inside = rng.random((16, 24)).astype(np.float32), np.zeros((16, 24), bool)
    inside[:8, :12] = True  # a whole region, and half of one
    inside[8:, 16:22] = True  # three quarters of one
    expected = [values[:8, :8].mean(), values[8:, 16:22].mean()]
    np.testing.assert_allclose(of_regions(values, inside), expected, rtol=1e-5)


def test_the_worst_tenth_holds_a_tenth_by_chance_and_most_by_its_own_order(rng):
    error = rng.exponential(size=2000)
    assert worst_tenth(rng.random(2000), error) == pytest.approx(0.1, abs=0.02)
    assert worst_tenth(error, error) == pytest.approx(0.1 * (1 + np.log(10)), abs=0.02)


def test_pixels_count_alike_and_slices_do():
    rows = [
        {"within": 1.0, "pixels": 100, "error": 1.0, "expected": 2.0, "half-width": 1.0},
        {"within": 0.5, "pixels": 300, "error": 2.0, "expected": 2.0, "half-width": 3.0},
    ]
    assert summary(rows) == {
        "half-width": 2.0,
        "error / expected": 0.75,
        "within, pixels": 0.625,
        "within, slices": 0.75,
        "within, least": 0.5,
        "within, most": 1.0,
    }
