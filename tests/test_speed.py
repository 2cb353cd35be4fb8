"""`benchmarks/speed`: the commands run, on tiny models."""

import json

import torch

from benchmarks.speed import memory, seconds
from benchmarks.speed.peak_memory import peak_memory
from tests.commands import run


def test_seconds_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.setattr(seconds, "peak_memory", lambda *_, **__: 1.0)
    monkeypatch.setattr(seconds, "BATCHES", (1,))
    run(seconds.main, "--preset", "tiny", "--json", tmp_path / "speed.json")
    row = json.loads((tmp_path / "speed.json").read_text())["tiny"]["batch1.float32"]
    assert 0 < row["amortized"] < row["N10"]


def test_peak_memory_is_that_of_the_run():
    taken = peak_memory(torch.ones, 2**26, device=torch.device("cpu"))
    assert not taken < 0.95 * 2**28  # NaN where the system does not count


def test_the_memory_of_a_whole_reconstruction(checkpoint, no_figures, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "peak_memory", lambda run, *a, device: run(*a) or 2.0**20)  # noqa: ARG005
    run(memory.main, "--checkpoint", checkpoint, "--slices", "1", "--json", tmp_path / "mib.json")
    assert json.loads((tmp_path / "mib.json").read_text())["mib"] == {"1": 1.0}
