"""`benchmarks/kills.py` notices damage: its checks are tried on files that are damaged on purpose."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file


@pytest.fixture
def kills(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import kills  # noqa: PLC0415

    return kills


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
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).random((9, 9, 9)), np.eye(4)), tmp_path / "a.nii.gz"
    )
    (tmp_path / "a.h5.node-1.part").write_text("half")
    (tmp_path / ".lock").write_text("process 1")
    return tmp_path


def test_whole_files_are_not_damaged(kills, folder):
    assert kills.damaged(folder) == []


@pytest.mark.parametrize("name", ["a.h5", "a.png", "a.json", "log.jsonl", "a.safetensors", "a.nii.gz"])
def test_half_files_are(kills, folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:5] + b"\n" if name == "log.jsonl" else content[: len(content) // 2])
    assert [found.partition(":")[0] for found in kills.damaged(folder)] == [str(path)]


def test_files_that_nobody_expects_and_values_that_are_not_finite(kills, folder):
    (folder / "core").touch()
    with h5py.File(folder / "a.h5", "r+") as file:
        file["image"][3, 3] = np.nan
    assert [found.partition(":")[0] for found in kills.damaged(folder)] == [
        str(folder / name) for name in ("a.h5", "core")
    ]


def test_lost_results_and_states(kills, folder):
    before = kills.finished(folder)
    with h5py.File(folder / "a.h5", "r+") as file:
        file.attrs["created"] = "later"  # the only thing that two runs need not have in common
    assert kills.lost(before, kills.finished(folder)) == []
    with h5py.File(folder / "a.h5", "r+") as file:
        file["image"][3, 3] = 2
    assert kills.lost(before, kills.finished(folder)) == ["a.h5"]
    assert kills.lost({}, before) == []
    assert kills.lost(before, {}) == ["a.h5"]
    assert kills.lost({"state": "0001 00000000"}, {"state": "0001 00000003"}) == []
    assert kills.lost({"state": "0001 00000000"}, {"state": "0000 00000003"}) == ["state"]
