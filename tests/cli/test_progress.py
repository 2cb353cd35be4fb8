"""What `train` shows: lines in a log, a live table on a terminal."""

import re
import sys

import pytest

from mri_iahvae.cli import progress as module
from mri_iahvae.cli.progress import training_display

STEP = {
    "stage": 0,
    "grid": 32,
    "loss": 1.25,
    "elbo_loss": 1.5,
    "completion": 0.75,
    "sigma": 0.5,
    "gradient_norm": 2.0,
    "skipped": 1,
    "slices_per_second": 12.34,
}
STEP_TEXT = (
    "loss 1.250  ELBO loss 1.500  completion 0.750  sigma 0.500  gradient 2.00  skipped 1  12.3 slices/s"
)
VALIDATION = {
    "grid": 32,
    "step": 20,
    "elbo_loss": 1.23456,
    "nmse": 0.01234,
    "kl": [1.0, 22.26],
    "error": [0.1, 0.2345],
    "completion": [0.5],
}
VALIDATION_LINES = [
    "grid 32 step 20: validation ELBO loss 1.2346 nats/dim, amortized NMSE 0.0123",
    "    KL per scale (nats)             1.0  22.3",
    "    error per scale (of its energy) 0.100  0.234",
    "    completion from 4x4, 8x8 ...    0.500",
]


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_lines_of_a_log_come_every_ten_seconds_and_at_the_end(clock, capsys):
    with training_display() as display:
        for step in range(1, 9):
            display.step({**STEP, "step": step}, 8)
            clock(4)
        display.validation(VALIDATION)
    out, err = capsys.readouterr()
    assert out == ""
    steps = [f"grid 32 step {step}/8: {STEP_TEXT}" for step in (1, 4, 7, 8)]
    assert err.splitlines() == [*steps, *VALIDATION_LINES]


def test_a_terminal_has_a_bar_for_each_grid(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with training_display() as display:
        display.step({**STEP, "step": 3}, 8)
        display.step({**STEP, "step": 8}, 8)
        display.validation(VALIDATION)
        masked = {key: value for key, value in STEP.items() if key != "completion"}
        display.step({**masked, "stage": 1, "grid": 64, "masked": 0.5, "step": 1}, 4)
        tasks = display._progress.tasks
        assert [(task.description, task.completed, task.total) for task in tasks] == [
            ("grid 32", 8, 8),
            ("grid 64", 1, 4),
        ]
        assert [task.fields["text"] for task in tasks] == [
            STEP_TEXT,
            STEP_TEXT.replace("completion 0.750", "masked 0.500"),
        ]
    out, err = capsys.readouterr()
    assert out == ""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err))
    assert [line for line in lines if line in VALIDATION_LINES] == VALIDATION_LINES  # above the bars
    assert any(line.startswith("grid 32") and "8/8" in line and STEP_TEXT in line for line in lines)


def test_where_a_run_begins_is_told_above_the_bars(monkeypatch, capsys):
    text = "[red]/run: starts, 8 steps in all"
    with training_display() as display:
        display.begin(text)
    assert capsys.readouterr() == ("", f"{text}\n")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with training_display() as display:
        display.begin(text)
        display.step({**STEP, "step": 8}, 8)
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert err.index(text) < err.index("grid 32")
