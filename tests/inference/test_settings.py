import json
import math
from itertools import product

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.refine import OPTIMIZERS, SCHEDULES
from mri_iahvae.inference.settings import DATA_CONSISTENCY, METHODS, InferenceSettings, inference_settings
from mri_iahvae.kspace.shifts import SHIFTS


@pytest.mark.parametrize(
    "values",
    [{"method": "magic"}, {"method": "Hybrid"}, {"data_consistency": "maybe"}, {"optimizer": "newton"},
     {"schedule": "random"}, {"precision": "float16"}, {"steps": -1}, {"steps": 2.5}, {"steps": "many"},
     {"steps": "auto", "optimizer": "adam"}, {"steps": "auto", "method": "paper"}, {"imputation_rounds": 0},
     {"joint_steps": -1}, {"shifts": 0}, {"shifts": 9}, {"shifts": 2, "samples": 2}, {"samples": -1},
     {"samples": 4, "method": "paper"}, {"temperature": -0.1}, {"temperature": math.nan},
     {"temperature": math.inf}, {"seed": -1}, {"seed": 2**32}],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused(values):
    with pytest.raises(UsageError) as caught:
        InferenceSettings(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"imputation_rounds": 1, "joint_steps": 0, "shifts": 8, "temperature": 0.0, "seed": 2**32 - 1},
        {"shifts": 1, "samples": 2},
        {"steps": "auto", "method": "iterative"},
    ],
)
def test_the_ends_of_each_range_are_taken(values):
    settings = InferenceSettings(**values)
    assert {name: getattr(settings, name) for name in values} == values


def test_defaults():
    """What the documentation states, and results were measured with."""
    expected = InferenceSettings("hybrid", 10, "lbfgs", "joint", 4, 20, "hard", 1, 0, 1.0, 0, "float32")
    assert InferenceSettings() == expected


def test_every_choice_is_taken_and_stored():
    choices = product(METHODS, DATA_CONSISTENCY, OPTIMIZERS, SCHEDULES, ("float32", "bfloat16"))
    for method, consistency, optimizer, schedule, precision in choices:
        settings = InferenceSettings(
            method, 0, optimizer, schedule, data_consistency=consistency, precision=precision
        )
        assert InferenceSettings(**json.loads(json.dumps(settings.to_json()))) == settings
        assert settings.refines_jointly == (method in ("hybrid", "iterative"))
    assert not InferenceSettings(joint_steps=0).refines_jointly


def test_automatic_steps_are_stored_as_such_and_end():
    settings = InferenceSettings(steps="auto")
    assert json.loads(json.dumps(settings.to_json()))["steps"] == "auto"
    most, tolerance = settings.budget
    assert most >= 50
    assert 0 < tolerance < 0.1
    assert InferenceSettings(steps=7).budget == (7, 0.0)


def test_settings_by_name():
    assert inference_settings(method="iterative", samples=3) == InferenceSettings("iterative", samples=3)
    with pytest.raises(UsageError, match="rate: no such setting; expected one of "):
        inference_settings(rate=0.1)


def test_a_quality_is_a_name_for_settings():
    assert inference_settings("default") == inference_settings() == InferenceSettings()
    assert inference_settings("fast", seed=3) == InferenceSettings("amortized", seed=3)
    assert inference_settings("fast", samples=2) == InferenceSettings("amortized", samples=2)
    assert inference_settings("best", steps=5) == InferenceSettings(shifts=4, steps=5)


@pytest.mark.parametrize(
    ("quality", "values", "words"),
    [
        ("good", {}, "quality good: expected one of fast, default, best"),
        ("fast", {"method": "amortized"}, "quality fast chooses method itself: leave one of the two out"),
        ("best", {"shifts": 2}, "quality best chooses shifts itself"),
        ("best", {"samples": 2}, "quality best averages shifted estimates, samples are single draws"),
    ],
)
def test_what_a_quality_excludes(quality, values, words):
    with pytest.raises(UsageError, match=words):
        inference_settings(quality, **values)


def test_what_a_method_ignores_is_not_in_effect():
    idle = {
        "hybrid": {"temperature"},
        "amortized": {"steps", "optimizer", "schedule", "joint_steps", "temperature"},
        "iterative": {"imputation_rounds", "temperature"},
        "paper": {"optimizer", "schedule", "samples", "joint_steps", "temperature"},
    }
    for method, names in idle.items():
        settings = InferenceSettings(method)
        assert settings.in_effect() == {**settings.to_json(), **dict.fromkeys(names)}
    sampled = InferenceSettings(samples=2)
    assert sampled.in_effect() == {**sampled.to_json(), "joint_steps": None}


def test_there_are_as_many_shifts_as_can_be_asked_for():
    assert InferenceSettings(shifts=len(SHIFTS)).shifts == len(SHIFTS)
    with pytest.raises(UsageError, match=f"expected 1 to {len(SHIFTS)}"):
        InferenceSettings(shifts=len(SHIFTS) + 1)
