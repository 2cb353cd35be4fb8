"""What `train` shows on stderr: a live line on a terminal, plain lines elsewhere, as in the logs of a cluster."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mri_iahvae.training.recorder import Display

_LINE_SECONDS = 10.0
_TERMS = {
    "loss": "loss",
    "elbo_loss": "ELBO loss",
    "completion": "completion",
    "masked": "masked",
    "likelihood": "likelihood",
    "sigma": "sigma",
}


class _Lines:
    """Plain lines; of the steps one every few seconds."""

    def __init__(self) -> None:
        self._last = 0.0
        self._error = "no validation yet"

    def begin(self, text: str) -> None:
        click.echo(text, err=True)

    def step(self, entry: dict[str, Any], total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS or entry["step"] == total:
            self._last = now
            self.begin(self.text(entry, total))

    def text(self, entry: dict[str, Any], total: int) -> str:
        """The most important first, for terminals of 80 columns: step, time left of the stage, last validation."""
        left = timedelta(seconds=round(entry["seconds_left"]))
        terms = [f"{label} {entry[name]:.3f}" for name, label in _TERMS.items() if name in entry]
        return (
            f"grid {entry['grid']} step {entry['step']}/{total}, {left} left, {self._error}; "
            f"{entry['slices_per_second']:.1f} slices/s, {', '.join(terms)}, gradient {entry['gradient_norm']:.2f}, "
            f"skipped {entry['skipped']}"
        )

    def validation(self, entry: dict[str, Any]) -> None:
        def row(name: str, values: list[float], form: str) -> str:
            return f"\n    {name:32}" + "  ".join(format(value, form) for value in values)

        if "relative_error" in entry:  # of the guide
            self._error = f"validation error {entry['relative_error']:.4f} of zero-filling's"
            self.begin(f"guide step {entry['step']}: {self._error}, SSIM {entry['ssim']:.4f}")
            return
        self._error = f"validation NMSE {entry['nmse']:.4f}"
        self.begin(
            f"grid {entry['grid']} step {entry['step']}: {self._error} (amortized), "
            f"ELBO loss {entry['elbo_loss']:.4f} nats/dim"
            + row("KL per scale (nats)", entry["kl"], ".1f")
            + row("error per scale (of its energy)", entry["error"], ".3f")
            + row("completion from 4x4, 8x8 ...", entry["completion"], ".3f")
        )


class _Live(_Lines):
    """One line per stage, renewed in place, with a bar where the terminal is wide; the rest scrolls above."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[int, TaskID] = {}

    def begin(self, text: str) -> None:
        # A folder may be called [red].
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def step(self, entry: dict[str, Any], total: int) -> None:
        stage, text = entry["stage"], self.text(entry, total)
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(text, total=total)
        self._progress.update(self._tasks[stage], completed=entry["step"], description=text)


@contextmanager
def training_display() -> Iterator[Display]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=20)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Live(progress)
