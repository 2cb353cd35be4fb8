import json
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.errors import IahvaeError, ScanError, UsageError
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.config import preset
from mri_iahvae.pipeline.training_data import FolderSlices, _split, train
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.settings import Stage, TrainSettings
from mri_iahvae.training.states import states

PRESET = preset("tiny").coarse(16)
SETTINGS = TrainSettings((Stage(16, 20, batch=2),), validate_every=10)


class Quiet:
    """Shows nothing; sends SIGINT at a step."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def begin(self, text):
        pass

    def step(self, entry, _total):
        if entry["step"] == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    def validation(self, entry):
        pass


@pytest.fixture
def files(make_scan, tmp_path):
    """Makes so many scans in a folder."""

    def make(folder, count, **options):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            make_scan(f"{folder}/{number:02d}.h5", **{"slices": 1, "size": 16, **options})
        return tmp_path / folder

    return make


def names(scans):
    return [scan.path.name for scan in scans]


def refused(error, data, run, *patterns, settings=SETTINGS, **options):
    with pytest.raises(error) as caught:
        train(data, run, PRESET, settings, display=Quiet(), device=torch.device("cpu"), **options)
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), message


def start(data, run, *, stop_at=None, config=PRESET, settings=SETTINGS, **options):
    return train(data, run, config, settings, display=Quiet(stop_at), device=torch.device("cpu"), **options)


@pytest.mark.parametrize(
    ("count", "held_out"), [(2, [1]), (9, [8]), (10, [9]), (19, [9]), (20, [9, 19]), (31, [9, 19, 29])]
)
def test_every_tenth_file_is_held_out(files, count, held_out):
    training, validation = _split(files("data", count), 16)
    assert names(validation) == [f"{k:02d}.h5" for k in held_out]
    assert names(training) == [f"{k:02d}.h5" for k in range(count) if k not in held_out]


def test_fastmri_folders_are_the_split(files):
    files("data", 4)  # beside the two folders: ignored
    files("data/singlecoil_train", 2)
    files("data/singlecoil_val", 12)
    training, validation = _split(files("data", 0), 16)
    assert {scan.path.parent.name for scan in training} == {"singlecoil_train"}
    assert {scan.path.parent.name for scan in validation} == {"singlecoil_val"}
    assert (len(training), len(validation)) == (2, 12)


def test_a_lone_training_folder_is_split(files):
    files("data/singlecoil_train", 11)
    folder = files("data", 0)
    training, validation = _split(folder, 16)
    assert names(validation) == ["09.h5"]
    assert len(training) == 10
    (folder / "singlecoil_train" / "00.h5").rename(folder / "singlecoil_train" / "00.hdf5")
    assert len(_split(folder, 16)[0]) == 10


def test_slices_are_the_centres_of_all_scans(files):
    folder = files("data", 3, slices=2, size=32)
    slices = FolderSlices([open_scan(path) for path in sorted(folder.iterdir())], 16)
    assert len(slices) == 6
    kspace = open_scan(folder / "01.h5").read(1)[0]
    assert slices.read(3).shape == (16, 16)
    np.testing.assert_array_equal(slices.read(3), kspace[8:24, 8:24])
    assert slices.read(3)[8, 8] == kspace[16, 16]


def test_data_that_cannot_be_used(files, make_scan, tmp_path):
    run = tmp_path / "run"
    refused(UsageError, tmp_path / "nowhere", run, "nowhere", "expected a folder")
    refused(UsageError, files("empty", 0), run, "empty", r"\*\.h5")
    refused(UsageError, files("one", 1), run, "one", "two files")
    files("halves/singlecoil_train", 1)
    refused(UsageError, files("halves/singlecoil_val", 0).parent, run, "singlecoil_val", "found none")
    mask = np.ones(16, bool)
    mask[3] = False
    data = files("masked", 2)
    make_scan("masked/05.h5", slices=1, size=16, mask=mask)
    refused(ScanError, data, run, r"05\.h5", "measured as a whole")
    refused(ScanError, files("small", 2, size=8), run, r"00\.h5", "16x16")
    (files("broken", 2) / "01.h5").write_bytes(b"no scan")
    refused(ScanError, tmp_path / "broken", run, r"01\.h5")
    assert not run.exists()  # checked before anything is written


def test_a_run(files, tmp_path):
    data, run = files("data", 3, slices=2), tmp_path / "runs" / "first"
    checkpoint = start(data, run)
    assert checkpoint == run / "model"
    model, _ = load_model(checkpoint)
    assert model.size == 16
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "run.json",
        "log.jsonl",
        "states",
        "model",
        "pictures",
    }
    pictures = sorted((run / "pictures").iterdir())
    assert [path.name for path in pictures] == ["grid016-step000010.png", "grid016-step000020.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    record = json.loads((checkpoint / "config.json").read_text())["training"]
    assert (record["training_files"], record["training_slices"], record["data"]) == (2, 4, "data")
    assert str(tmp_path) not in json.dumps(record)  # a checkpoint does not tell where its data were
    before = json.loads((run / "run.json").read_text())
    assert before["model"]["scales"][0]["channels"] == 16
    assert load_domain(checkpoint).description == "not stated"
    refused(UsageError, data, run, "holds a run already", "--resume")


def test_the_domain_is_named_by_the_user_or_by_the_files(files, tmp_path):
    data = files("data", 3, acquisition="CORPD_FBK")
    files("other", 1, acquisition="CORPDFS_FBK")
    (tmp_path / "other" / "00.h5").rename(data / "00.h5")
    settings = TrainSettings((Stage(16, 1, batch=2),), validate_every=1)
    stated = start(data, tmp_path / "stated", settings=settings)
    assert load_domain(stated).description == "CORPDFS_FBK, CORPD_FBK"
    named = start(data, tmp_path / "named", settings=settings, domain="knee; PD")
    assert load_domain(named).description == "knee; PD"


def test_resuming(files, tmp_path):
    data, run = files("data", 2), tmp_path / "run"
    refused(UsageError, data, run, "--resume found no run", resume=True)
    assert not run.exists()
    with pytest.raises(KeyboardInterrupt) as interrupted:
        start(data, run, stop_at=10)
    assert str(interrupted.value) == f"Interrupted at step 10 of 20 in {run}; `--resume` goes on"
    assert [step for _, step, _ in states(run)] == [0, 10]
    training = json.loads((run / "model" / "config.json").read_text())["training"]
    assert (training["steps_done"], training["steps_planned"]) == (10, 20)
    refused(UsageError, data, run, "holds a run already")
    other = TrainSettings((Stage(16, 30, batch=2),), validate_every=10)
    refused(UsageError, data, run, "--stages was 16:20, found 16:30$", settings=other, resume=True)
    with pytest.raises(UsageError, match="--preset gave another model"):
        start(data, run, config=replace(PRESET, latent=2), resume=True)
    record = json.loads((run / "run.json").read_text())
    for name in ("encoder", "heads", "decoder"):
        del record["model"][name]  # as a run that started before there was a choice
    (run / "run.json").write_text(json.dumps(record))
    start(data, run, resume=True)
    assert [step for _, step, _ in states(run)] == [10, 20]
    whole = start(data, tmp_path / "whole")
    weights = [(folder / "model.safetensors").read_bytes() for folder in (run / "model", whole)]
    assert weights[0] == weights[1]


def test_a_run_that_died_before_its_first_state_can_start_again(files, tmp_path, monkeypatch):
    data, run = files("data", 2), tmp_path / "run"

    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mri_iahvae.tasks.train.run_training", fail)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            start(data, run)
    assert str(interrupted.value) == ""  # nothing to go on from
    assert (run / "run.json").exists()
    refused(UsageError, data, run, "start without it", resume=True)
    start(data, run)
    assert states(run)


def test_a_damaged_record_is_refused(files, tmp_path):
    data, run = files("data", 2), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(data, run, stop_at=10)
    for text in ("", "[]", "{}", '{"model": 1}'):
        (run / "run.json").write_text(text)
        refused(IahvaeError, data, run, "run", resume=True)
