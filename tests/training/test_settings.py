import json

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.training.settings import Stage, TrainSettings, default_stages, parse_stages


def test_stages():
    assert parse_stages("32:2000, 64:15", 64, batch=8, rate=0.1, sigma=0.2) == (
        Stage(32, 2000, 8, 0.1, 0.2),
        Stage(64, 15, 8, 0.1, 0.2),
    )


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_default_stages_end_at_the_grid(size):
    stages = parse_stages(default_stages(size), size, 1, 1.0, 1.0)
    assert stages[-1].size == size
    (only,) = parse_stages(default_stages(size, grows=False), size, 1, 1.0, 1.0)
    assert only.size == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "32",
        "32:",
        "32:5:6",
        "a:5",
        "32:0",
        "32:-1",
        "24:5",
        "8:5,32:5",
        "32:5,16:5",
        "32:5,32:5",
        "16:5",
        "64:5",
    ],
)
def test_other_plans_are_refused(text):
    with pytest.raises(UsageError, match="--stages") as caught:
        parse_stages(text, 32, 1, 1.0, 1.0)
    assert "\n" not in str(caught.value)


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="precision float16: expected one of float32, bfloat16"):
        TrainSettings((Stage(16, 3),), precision="float16")


def test_settings_are_json():
    settings = TrainSettings((Stage(16, 3), Stage(32, 4)), seed=5)
    values = json.loads(json.dumps(settings.to_json()))
    assert values["seed"] == 5
    assert TrainSettings(**{**values, "stages": tuple(Stage(**s) for s in values["stages"])}) == settings
