"""`tools/robustness`: damaged files are read or refused in one line, huge ones cost little, harnesses see damage."""

import os
import signal
import time
import warnings

import h5py
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mri_iahvae.errors import ScanError
from tools.robustness import fuzz, kills
from tools.robustness.bombs import BOMBS, measure
from tools.robustness.subjects import Subject

MUTATIONS = 260  # 20 of each kind


def test_damaged_files_are_read_or_refused():
    cases = fuzz.fuzz(range(MUTATIONS), 1, fuzz.Limits(seconds=20))
    found = fuzz.summary(cases)
    assert found["failed"] == []
    assert [case.number for case in cases] == list(range(MUTATIONS))
    assert max(case.mib for case in cases) < 512
    # Damage that is always refused, or never, would test nothing.
    assert 0.05 < found["outcomes"]["read"] / MUTATIONS < 0.5
    assert len({case.detail for case in cases}) > 50


def ends(_):
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(_):
    time.sleep(60)


def swallows(_):
    np.ones(2**31)


def warns(_):
    warnings.warn("odd", RuntimeWarning, stacklevel=1)


def chatters(_):
    raise ScanError("one\ntwo")


def peeks(path):
    (path.parents[1] / "outside.h5").read_bytes()


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # the worker has to know a subject of this file
@pytest.mark.parametrize(
    ("behaviour", "outcome", "detail"),
    [
        (ends, "crashed", "exit code -9"),
        (sleeps, "hung", "exit code -14"),
        (swallows, "crashed", "MemoryError"),
        (warns, "crashed", "RuntimeWarning: odd"),
        (chatters, "crashed", "not one line"),
        (peeks, "crashed", "outside was opened"),
    ],
)
def test_the_harness_sees_what_it_looks_for(monkeypatch, behaviour, outcome, detail):
    fake = Subject(lambda folder: (folder / "a.txt").write_text("a" * 100), behaviour)
    monkeypatch.setitem(fuzz.SUBJECTS, "fake", fake)
    monkeypatch.setattr(fuzz, "START", "fork")
    cases = fuzz.fuzz(range(2), 0, fuzz.Limits(seconds=0.5, mib=1024), ("fake",))
    assert [(case.number, case.outcome) for case in cases] == [(0, outcome), (1, outcome)]
    assert all(detail in case.detail for case in cases)


@pytest.mark.parametrize("name", ["empty", "long text", "deep XML", "shared lines", "archive", "wide model"])
def test_bombs_cost_little(tmp_path, name):
    """One of each kind; each takes a process, and the script measures all."""
    found = measure(BOMBS[name], tmp_path)
    assert found.outcome == ("read" if name == "deep XML" else "refused"), found
    assert found.mib < 256
    assert "\n" not in found.message


@pytest.fixture
def folder(tmp_path):
    """A whole file of every kind that runs write, and what they leave beside."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = np.ones((50, 50))
        file.attrs["created"] = "now"
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text('{"a": 1}\n')
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"half')
    save_file({"a": torch.ones(100)}, tmp_path / "a.safetensors")
    voxels = np.random.default_rng(0).random((9, 9, 9))
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "a.h5.node-1.part").write_text("half")
    (tmp_path / ".lock").write_text("process 1")
    return tmp_path


@pytest.mark.parametrize("name", ["a.h5", "a.png", "a.json", "log.jsonl", "a.safetensors", "a.nii.gz"])
def test_half_files_are_damaged(folder, name):
    assert kills.damaged(folder) == []
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:5] + b"\n" if name == "log.jsonl" else content[: len(content) // 2])
    assert [found.partition(":")[0] for found in kills.damaged(folder)] == [str(path)]


def test_lost_results_and_states(folder):
    before = kills.finished(folder)
    with h5py.File(folder / "a.h5", "r+") as file:
        file.attrs["created"] = "later"  # the only thing that two runs need not have in common
    assert kills.lost(before, kills.finished(folder)) == []
    with h5py.File(folder / "a.h5", "r+") as file:
        file["image"][3, 3] = 2
    assert kills.lost(before, kills.finished(folder)) == ["a.h5"]
    assert kills.lost(before, {}) == ["a.h5"]
    assert kills.lost({"state": "0001 00000000"}, {"state": "0001 00000003"}) == []
    assert kills.lost({"state": "0001 00000000"}, {"state": "0000 00000003"}) == ["state"]
