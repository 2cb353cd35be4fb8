import re
import sys

import pytest

from mri_iahvae.cli import file_progress as module
from mri_iahvae.cli.file_progress import file_progress


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_lines_tell_the_time_left(clock, capsys):
    with file_progress(3, quiet=False) as progress:
        advance = progress.start("a.h5", 4)
        for _ in range(4):
            clock(20)
            advance(1)
        progress.finish()
        progress.finish()  # a file that failed before it began
        advance = progress.start("c.h5", 10)
        clock(120)
        advance(5)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[1/3] a.h5: 4 slices",
        "a.h5: 2/4 slices; 0:00:40 elapsed, about 0:03:20 left",  # a sixth of all is done
        "[3/3] c.h5: 10 slices; 0:01:20 elapsed, about 0:00:40 left",
        "c.h5: 5/10 slices; 0:03:20 elapsed, about 0:00:40 left",
    ]


def test_parts_of_a_slice_are_shown(clock, capsys):
    with file_progress(1, quiet=False) as progress:
        advance = progress.start("a.h5", 2)
        for _ in range(8):
            clock(20)
            advance(0.25)
        progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "a.h5: 2 slices",
        "a.h5: 0.5/2 slices; 0:00:40 elapsed, about 0:02:00 left",
        "a.h5: 1/2 slices; 0:01:20 elapsed, about 0:01:20 left",
        "a.h5: 1.5/2 slices; 0:02:00 elapsed, about 0:00:40 left",
    ]


def test_bars(clock, monkeypatch, capsys):
    """On a terminal: a bar for all files, one for that at work, and lines that are not glued to them."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with file_progress(3, quiet=False) as progress:
        first = progress.start("[red].h5", 4)
        first(3)
        progress.say("report", err=False)
        progress.say("Warning: odd")
        progress.finish()
        progress.finish()
        clock(10)
        advance = progress.start("b.h5", 2)
        clock(2)
        advance(1)
        tasks = [(task.description, task.completed, task.time_remaining) for task in progress._bars.tasks]
        assert tasks == [("files", 2.5, 3), ("b.h5", 1, 2)]  # 2.5 files in 12 seconds; a slice in 2
    out, err = capsys.readouterr()
    assert out == "report\n"
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err))
    assert "Warning: odd" in lines
    assert any(line.startswith("[red].h5") and "3/4" in line for line in lines)
