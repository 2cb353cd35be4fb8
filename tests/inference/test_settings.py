import json
import math

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings, inference_settings


@pytest.mark.parametrize(
    "values",
    [{"method": "magic"}, {"method": "Hybrid"}, {"data_consistency": "maybe"}, {"optimizer": "newton"},
     {"schedule": "random"}, {"precision": "float16"}, {"steps": -1}, {"steps": 2.5}, {"steps": "many"},
     {"steps": "auto", "optimizer": "adam"}, {"steps": "auto", "method": "paper"}, {"samples": -1},
     {"samples": 4, "method": "paper"}, {"temperature": -0.1},
     {"temperature": math.nan}, {"temperature": math.inf}, {"seed": -1}, {"seed": 2**32},
     {"symmetries": 0}, {"symmetries": 9}],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused(values):
    with pytest.raises(UsageError) as caught:
        InferenceSettings(**values)
    assert "\n" not in str(caught.value)


def test_defaults():
    """What the documentation states, and results were measured with."""
    expected = InferenceSettings("hybrid", 3, "lbfgs", "joint", "hard", 0, 1.0, 0, "auto", symmetries=4)
    assert InferenceSettings() == expected


def test_automatic_steps_are_stored_as_such_and_end():
    settings = InferenceSettings(steps="auto", seed=2**32 - 1)
    assert InferenceSettings(**json.loads(json.dumps(settings.to_json()))) == settings
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
    assert inference_settings("fast", seed=3) == InferenceSettings("guide", seed=3, symmetries=1)
    assert inference_settings("best", samples=2) == InferenceSettings(steps=15, samples=2, symmetries=8)
    with pytest.raises(UsageError, match="quality good: expected one of fast, default, best"):
        inference_settings("good")
    with pytest.raises(UsageError, match="quality fast chooses method itself: leave one of the two out"):
        inference_settings("fast", method="amortized")


def test_what_a_method_ignores_is_not_in_effect():
    idle = {
        "hybrid": {"temperature"},
        "guide": {"steps", "optimizer", "schedule", "temperature"},
        "amortized": {"steps", "optimizer", "schedule", "temperature"},
        "iterative": {"temperature", "symmetries", "series"},
        "paper": {"optimizer", "schedule", "samples", "temperature", "symmetries", "series"},
    }
    for method, names in idle.items():
        settings = InferenceSettings(method)
        assert settings.in_effect() == {**settings.to_json(), **dict.fromkeys(names)}
    sampled = InferenceSettings(samples=2)
    assert sampled.in_effect() == sampled.to_json()
