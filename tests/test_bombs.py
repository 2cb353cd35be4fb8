"""Small files that claim to be huge are refused, or read, within bounds: `benchmarks/bombs.py`."""

from pathlib import Path

import pytest

READ = {"deep XML"}
TRIED = ("empty", "long text", "deep XML", "shared lines", "archive", "wide model")
"""One of each kind; each takes a process, and the benchmark measures all."""
MOST_MIB = 256


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def test_bombs_cost_little(tmp_path):
    from bombs import BOMBS, measure  # noqa: PLC0415

    for name in TRIED:
        folder = tmp_path / name
        folder.mkdir()
        found = measure(BOMBS[name], folder)
        assert found.outcome == ("read" if name in READ else "refused"), (name, found)
        assert found.mib < MOST_MIB, (name, found)
        assert "\n" not in found.message
