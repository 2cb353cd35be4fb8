"""`tools/robustness`: damaged files are read or refused in one line, huge ones cost little."""

import os
import signal
import time

import numpy as np
import pytest

from tools.robustness import fuzz
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


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # the worker has to know a subject of this file
@pytest.mark.parametrize(
    ("read", "outcome", "detail"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), "crashed", "exit code -9"),
        (lambda _: time.sleep(60), "hung", "exit code -14"),
        (lambda _: np.ones(2**31), "crashed", "MemoryError"),
        (lambda path: (path.parents[1] / "outside.h5").read_bytes(), "crashed", "outside was opened"),
    ],
)
def test_the_fuzzer_sees_what_it_looks_for(monkeypatch, read, outcome, detail):
    fake = Subject(lambda folder: (folder / "a.txt").write_text("a" * 100), read)
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
