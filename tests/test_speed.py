"""`benchmarks/speed`: the commands run, on tiny models."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.speed import memory, seconds
from benchmarks.speed.clock import line, peak_memory


def run(command, *options):
    done = CliRunner().invoke(command, [*map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_seconds_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.setattr(seconds, "peak_memory", lambda *_, **__: 1.0)
    options = ("--preset", "tiny", "--rounds", 1, "--longest", 0, "--most", 1)
    run(seconds.main, *options, "--json", tmp_path / "speed.json")
    rows = json.loads((tmp_path / "speed.json").read_text())["tiny"]
    assert rows["batch1.float32.N0"]["timed"]
    assert not rows["batch1.float32.N50"]["timed"]
    assert line({1: 2.0, 3: 4.0})(50) == pytest.approx(51)


def test_peak_memory_is_that_of_the_run():
    taken = peak_memory(torch.ones, 2**26, device=torch.device("cpu"))
    assert not taken < 0.95 * 2**28  # NaN where the system does not count


def test_the_memory_of_a_whole_reconstruction(checkpoint, no_figures, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "peak_memory", lambda run, *a, device: run(*a) or 2.0**20)  # noqa: ARG005
    run(memory.main, "--checkpoint", checkpoint, "--slices", "1", "--json", tmp_path / "mib.json")
    assert json.loads((tmp_path / "mib.json").read_text())["mib"] == {"1": 1.0}
