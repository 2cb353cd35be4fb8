"""The guide's pilot: it trains, goes on, and is scored."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.quality import guide as module
from benchmarks.shared.tasks import Task
from mri_iahvae.model.guide import GuideConfig


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "CONFIG", GuideConfig(steps=1, widths=(4, 8), blocks=1))
    monkeypatch.setattr(module, "TASKS", [Task("left out", "none"), Task("up to 8x8", "hard", up_to=8)])


@pytest.mark.usefixtures("small")
def test_it_trains_goes_on_and_is_scored(make_scan, tmp_path):
    (tmp_path / "data").mkdir()
    make_scan("data/singlecoil_train/a.h5", slices=3)
    make_scan("reporting/b.h5", slices=2, reference=True)
    seen = []
    for _ in range(2):
        command = ["train", tmp_path / "data", "-o", tmp_path / "run", "--minutes", "0.03", "--size", "32"]
        done = CliRunner().invoke(module.main, list(map(str, command)))
        assert done.exit_code == 0, done.output
        _, about = module.load(tmp_path / "run" / "guide.safetensors")
        seen.append(about["slices"])
    assert 0 < seen[0] < seen[1]
    paths = [
        tmp_path / "run" / "guide.safetensors",
        tmp_path / "reporting",
        "--json",
        tmp_path / "scores.json",
    ]
    done = CliRunner().invoke(module.main, ["score", *map(str, paths)])
    assert done.exit_code == 0, done.output
    (row,) = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert (row["task"], row["slices"]) == ("up to 8x8", 2)
    assert 0 < row["nmse"] < 1
