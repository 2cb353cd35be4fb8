"""The record of a run: what it goes on with, and which option is not that of the start."""

import json
from dataclasses import replace

import pytest

from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.model.presets import preset
from mri_iahvae.training.run_record import RunRecord, untrained
from mri_iahvae.training.settings import Stage, TrainSettings
from mri_iahvae.training.states import state_path

SETTINGS = TrainSettings((Stage(16, 20), Stage(32, 30, scales=(32, 32))), seed=4)
RECORD = RunRecord(
    preset("tiny"),
    SETTINGS,
    "/data/knee",
    (40, 4),
    None,
    "small",
    {"device": "cpu", "reading": {"dataset": None, "keep_outliers": False}},
)


@pytest.fixture
def run(tmp_path):
    """Folder of a run with a state."""
    RECORD.write(tmp_path)
    path = state_path(tmp_path, 0, 10)
    path.parent.mkdir()
    path.touch()
    return tmp_path


def test_a_run_goes_on_with_what_it_was_started_with(run):
    assert RunRecord.read(run) == RECORD


def test_a_folder_holds_one_run(run, tmp_path):
    with pytest.raises(UsageError, match="holds a run already"):
        RECORD.write(run)
    state_path(run, 0, 10).unlink()
    with pytest.raises(UsageError, match="found no run with a saved state"):
        RunRecord.read(run)
    RECORD.write(run)  # a run that died before its first state can start again


GIVEN = {
    "--preset": ("tiny", "small", "--preset small is another model"),
    "--grid": (32, 16, "--grid was 32, found 16"),
    "--from": ("small", "other", "--from was small, found other"),
    "--stages": ("16:20, 32:30@32", "32:30", "--stages was 16:20,32:30@32, found 32:30"),
    "--rate": (2e-3, 1e-3, "--rate was 0.002, found 0.001"),
    "--half": (False, True, "--half was False, found True"),
    "--domain": (None, "knee", "--domain was None, found knee"),
    "--dataset": (None, "ksp", "--dataset was None, found ksp"),
    "--keep-outliers": (False, True, "--keep-outliers was False, found True"),
}


def test_options_that_differ_are_named_with_both_values(run):
    RECORD.require(run, {option: same for option, (same, _, _) in GIVEN.items()})
    with pytest.raises(UsageError) as refused:
        RECORD.require(run, {option: other for option, (_, other, _) in GIVEN.items()})
    words = ", ".join(words for _, _, words in GIVEN.values())
    assert str(refused.value) == f"{run}: --resume goes on with the options of the start; {words}"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": 1},
        {"slices": [1]},
        *({"settings": {"stages": bad}} for bad in (None, [], [1], [{}], [{"size": 16, "steps": 0}])),
    ],
    ids=str,
)
def test_damaged_records_are_refused_in_one_line(run, changes):
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(IahvaeError, match=r"run\.json: cannot be read as the record of a run") as refused:
        RunRecord.read(run)
    assert "\n" not in str(refused.value)
    path.write_text("{")
    with pytest.raises(IahvaeError, match=r"run\.json: cannot be read"):
        RunRecord.read(run)


def test_what_training_measures_is_no_part_of_the_architecture():
    config = preset("tiny")
    measured = replace(config, gains=(1.0,) * 6, core_power=((1.0,),), sigma=0.3)
    assert untrained(measured) == config
