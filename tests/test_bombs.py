"""Small files that claim to be huge are refused, or read, within bounds: `benchmarks/bombs.py`."""

from pathlib import Path

import pytest

READ = {"deep XML", "attribute"}
SLOW = {"zeros, allowed", "large slices, allowed"}  # measured by the benchmark
MOST_MIB = 256


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def test_bombs_cost_little(tmp_path):
    from bombs import BOMBS, measure  # noqa: PLC0415

    for name in sorted(set(BOMBS) - SLOW):
        folder = tmp_path / name
        folder.mkdir()
        found = measure(BOMBS[name], folder)
        assert found.outcome == ("read" if name in READ else "refused"), (name, found)
        assert found.seconds < 5, (name, found)
        assert found.mib < MOST_MIB, (name, found)
        assert "\n" not in found.message
