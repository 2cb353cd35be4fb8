"""What `train` shows: lines in a log, a live line on a terminal."""

import re
import sys

from mri_iahvae.cli import progress as module
from mri_iahvae.cli.progress import training_display

STEP = {
    "stage": 0,
    "grid": 128,
    "seconds_left": 3771.4,
    "loss": 1.25,
    "gradient_norm": 2.0,
    "skipped": 1,
    "slices_per_second": 12.34,
}
VALIDATION = {
    "grid": 128,
    "step": 20,
    "elbo_loss": 1.23,
    "nmse": 0.01234,
    "kl": [1.0],
    "error": [0.1],
    "completion": [0.5],
}


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
    lines = [line for line in err.splitlines() if not line.startswith(" ")]
    assert lines[0] == "[red]/run: starts"
    steps = [line.split(";")[0] for line in lines[1:] if "NMSE 0.0123 (" not in line]
    assert steps == [
        f"grid 128 step {step}/8, 1:02:51 left, {error}"
        for step, error in zip(
            (1, 4, 7, 8), ["no validation yet"] * 2 + ["validation NMSE 0.0123"] * 2, strict=True
        )
    ]


def test_a_terminal_shows_what_matters_most_first(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with training_display() as display:
        display.begin("[red]/run: starts")
        display.validation(VALIDATION)
        for stage in (0, 1):
            display.step({**STEP, "stage": stage, "step": 1200 + stage}, 1300)
    out, err = capsys.readouterr()
    assert out == ""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err))
    assert "[red]/run: starts" in lines
    for step in (1200, 1201):
        start = f"grid 128 step {step}/1300, 1:02:51 left, validation NMSE 0.0123; 12.3 "
        assert any(line.startswith(start) for line in lines)
    assert max(map(len, lines)) <= 80
