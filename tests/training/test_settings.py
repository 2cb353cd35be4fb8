import json

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.training.settings import Stage, TrainSettings, default_stages, parse_stages


def test_stages_are_read_and_written():
    text = "32:2000, 32:5@16-32,64:7@64,64:15@1-64"
    stages = parse_stages(text, 64, batch=8, rate=0.1, sigma=0.2)
    scales = (None, (16, 32), (64, 64), (1, 64))
    plan = zip((32, 32, 64, 64), (2000, 5, 7, 15), scales, strict=True)
    assert stages == tuple(Stage(grid, steps, 8, 0.1, 0.2, held) for grid, steps, held in plan)
    assert ",".join(map(str, stages)) == text.replace(" ", "")
    assert [list(stage.trained) for stage in stages] == [[*range(6)], [4, 5], [6], [*range(7)]]


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_default_stages_end_at_the_grid(size):
    for options in ({}, {"grows": False}, {"first": size}):
        stages = parse_stages(default_stages(size, **options), size, 1, 1.0, 1.0)
        assert stages[-1].size == size
        assert len(stages) == 1 or not options


@pytest.mark.parametrize(
    "text",
    [
        *("", "32", "32:", "32:5:6", "a:5", "32:0", "32:-1", "24:5", "8:5,32:5", "32:5,16:5", "16:5", "64:5"),
        *("32:5@", "32:5@0", "32:5@64", "32:5@24", "32:5@16-8", "32:5@8-64", "32:5@8-16-32"),
        "32:" + "9" * 5000,
    ],
)
def test_other_plans_are_refused(text):
    with pytest.raises(UsageError, match="--stages") as caught:
        parse_stages(text, 32, 1, 1.0, 1.0)
    assert "\n" not in str(caught.value)


def test_a_plan_cannot_start_below_the_grid_of_the_weights():
    assert parse_stages("64:1", 64, 1, 1.0, 1.0, first=64)
    with pytest.raises(UsageError, match="from 64 or more"):
        parse_stages("32:1,64:1", 64, 1, 1.0, 1.0, first=64)


def test_settings_are_json():
    settings = TrainSettings((Stage(16, 3), Stage(32, 4, scales=(8, 32))), seed=5)
    assert TrainSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
