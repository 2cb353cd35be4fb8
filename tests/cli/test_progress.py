"""What `train` shows: lines in a log, a live line on a terminal."""

import re
import sys

import pytest

from mri_iahvae.cli import progress as module
from mri_iahvae.cli.progress import training_display

STEP = {
    "stage": 0,
    "grid": 128,
    "seconds_left": 3771.4,
    "loss": 1.25,
    "elbo_loss": 1.5,
    "completion": 0.75,
    "sigma": 0.5,
    "gradient_norm": 2.0,
    "skipped": 1,
    "slices_per_second": 12.34,
}
REST = "12.3 slices/s, loss 1.250, ELBO loss 1.500, completion 0.750, sigma 0.500, gradient 2.00, skipped 1"
VALIDATION = {
    "grid": 128,
    "step": 20,
    "elbo_loss": 1.23456,
    "nmse": 0.01234,
    "kl": [1.0, 22.26],
    "error": [0.1, 0.2345],
    "completion": [0.5],
}
VALIDATION_LINES = [
    "grid 128 step 20: validation NMSE 0.0123 (amortized), ELBO loss 1.2346 nats/dim",
    "    KL per scale (nats)             1.0  22.3",
    "    error per scale (of its energy) 0.100  0.234",
    "    completion from 4x4, 8x8 ...    0.500",
]


def test_lines_of_a_log_come_every_ten_seconds_and_at_the_end(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with training_display() as display:
        display.begin("[red]/run: starts")
        for step in range(1, 9):
            if step == 5:
                display.validation(VALIDATION)
            display.step({**STEP, "step": step}, 8)
            now[0] += 4
    out, err = capsys.readouterr()
    assert out == ""
    steps = [
        f"grid 128 step {step}/8, 1:02:51 left, {error}; {REST}"
        for step, error in zip(
            (1, 4, 7, 8), ["no validation yet"] * 2 + ["validation NMSE 0.0123"] * 2, strict=True
        )
    ]
    assert err.splitlines() == ["[red]/run: starts", *steps[:2], *VALIDATION_LINES, *steps[2:]]


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_what_matters_most_first(monkeypatch, capsys, width):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with training_display() as display:
        display.begin("[red]/run: starts")
        display.validation(VALIDATION)
        display.step({**STEP, "step": 1200}, 1300)
        masked = {key: value for key, value in STEP.items() if key != "completion"}
        display.step({**masked, "stage": 1, "masked": 0.5, "step": 1}, 4)
    out, err = capsys.readouterr()
    assert out == ""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err))
    assert [line for line in lines if line in ("[red]/run: starts", *VALIDATION_LINES)] == [
        "[red]/run: starts", *VALIDATION_LINES
    ]  # fmt: skip
    for start in ("grid 128 step 1200/1300, 1:02:51 left, ", "grid 128 step 1/4, 1:02:51 left, "):
        (shown,) = {line[:79] for line in lines if line.startswith(start)}
        assert shown.startswith(f"{start}validation NMSE 0.0123; 12.3 ")
        assert max(len(line) for line in lines) <= width
    assert any("masked 0.500" in line for line in lines) == (width == 200)
