"""The record of a run: which option is not that of the start."""

import json
from dataclasses import replace

import pytest

from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.model.presets import preset
from mri_iahvae.training.run_record import start_or_resume
from mri_iahvae.training.settings import Stage, TrainSettings
from mri_iahvae.training.states import state_path

MODEL = preset("tiny")
DETAILED = replace(MODEL, scales=(*MODEL.scales[:-1], replace(MODEL.scales[-1], detail=8)))
SETTINGS = TrainSettings((Stage(16, 20), Stage(32, 30)))


def record(model=MODEL, settings=SETTINGS):
    return {"model": model.to_json(), "settings": settings.to_json()}


@pytest.fixture
def run(tmp_path):
    """Folder of a run with a state."""
    start_or_resume(tmp_path, record(), resume=False)
    path = state_path(tmp_path, 0, 10)
    path.parent.mkdir()
    path.write_bytes(b"")
    return tmp_path


def of_stages(**changes):
    return replace(SETTINGS, stages=tuple(replace(stage, **changes) for stage in SETTINGS.stages))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (record(settings=of_stages(batch=8)), "--batch was 16, found 8"),
        (record(settings=of_stages(rate=1e-3)), "--rate was 0.002, found 0.001"),
        (record(settings=of_stages(sigma=0.2)), "--sigma was 0.1, found 0.2"),
        (
            record(settings=replace(SETTINGS, stages=SETTINGS.stages[1:])),
            "--stages was 16:20,32:30, found 32:30",
        ),
        (record(settings=replace(SETTINGS, seed=1)), "--seed was 0, found 1"),
        (record(settings=replace(SETTINGS, save_seconds=1.0)), "--save-every was 60.0, found 1.0"),
        (record(settings=replace(SETTINGS, validate_every=7)), "--validate-every was 100, found 7"),
        (record(settings=replace(SETTINGS, masked_weight=0.0)), "--masked-weight was 1.0, found 0.0"),
        (record(settings=replace(SETTINGS, precision="bfloat16")), "--precision was float32, found bfloat16"),
        (record(settings=replace(SETTINGS, clip=2.0)), "settings that are no options differ"),
        (record(MODEL.coarse(16)), "--grid was 32, found 16"),
        (record(replace(MODEL, encoder="bottom-up")), "--encoder was causal, found bottom-up"),
        (record(replace(MODEL, heads="spectral")), "--heads was image, found spectral"),
        (record(replace(MODEL, head_blocks=2)), "--preset gave another model"),
        (record(DETAILED), "--no-details was True, found False"),
        (
            record(preset("small"), settings=of_stages(batch=8)),
            "--preset gave another model, --grid was 32, found 128, --batch was 16, found 8",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_differs_is_named_with_both_values(run, changed, words):
    with pytest.raises(UsageError) as refused:
        start_or_resume(run, changed, resume=True)
    assert str(refused.value) == f"{run}: --resume needs the options that the run started with; {words}"


def test_the_same_options_and_another_machine_go_on(run):
    start_or_resume(run, {**record(), "device": "cuda", "version": "9"}, resume=True)


@pytest.mark.parametrize("missing", ["precision", "masked_weight"])
def test_a_setting_that_an_earlier_version_did_not_have_differs(run, missing):
    before = record()
    del before["settings"][missing]
    (run / "run.json").write_text(json.dumps(before))
    with pytest.raises(UsageError, match=f"--{missing.replace('_', '-')} was None"):
        start_or_resume(run, record(), resume=True)


@pytest.mark.parametrize("settings", [None, [], {}, {"stages": []}, {"stages": [1]}, {"stages": [{}]}])
def test_settings_that_are_none_are_refused_in_one_line(run, settings):
    (run / "run.json").write_text(json.dumps({**record(), "settings": settings}))
    with pytest.raises(IahvaeError, match=r"run\.json: cannot be read as the record of a run") as refused:
        start_or_resume(run, record(), resume=True)
    assert "\n" not in str(refused.value)
