"""`tools/robustness`: damaged files are read or refused in one line, huge ones cost little."""

import pytest

from tools.robustness import fuzz
from tools.robustness.bombs import BOMBS, measure

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


@pytest.mark.parametrize("name", ["empty", "long text", "deep XML", "shared lines", "archive", "wide model"])
def test_bombs_cost_little(tmp_path, name):
    """One of each kind; each takes a process, and the script measures all."""
    found = measure(BOMBS[name], tmp_path)
    assert found.outcome == ("read" if name == "deep XML" else "refused"), found
    assert found.mib < 256
    assert "\n" not in found.message
