"""The line below the title of a figure."""

from pathlib import Path

import numpy as np
import pytest

from mri_iahvae.results.report import Record

SETTINGS = {
    "mask": "random columns 4x",
    "fraction_measured": 0.28125,
    "true_acceleration": 3.5556,
    "method": "hybrid",
    "steps": 3,
    "samples": 0,
    "model": "small",
}
MASK = "mask: random columns 4x, 28.1% measured, true acceleration 3.56x, "


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, MASK + "method hybrid, steps 3, model small"),
        ({"method": "guide", "steps": None}, MASK + "method guide, model small"),
        ({"steps": "auto"}, MASK + "method hybrid, steps auto, model small"),
        ({"samples": 8}, MASK + "method hybrid, steps 3, 8 posterior samples, model small"),
        (
            {"noise_sigma": 0.012345, "noise_source": "estimate"},
            MASK + "noise 0.0123 (estimate), method hybrid, steps 3, model small",
        ),
        (
            {"fraction_measured": 0.0, "true_acceleration": None},
            "mask: random columns 4x, 0.0% measured, method hybrid, steps 3, model small",
        ),
    ],
)
def test_a_caption_says_what_was_measured_and_how_it_was_computed(settings, line):
    empty = np.zeros(0)
    record = Record(Path("a.h5"), 1, {**SETTINGS, **settings}, empty, empty, {}, empty, {})
    assert record.caption() == line
