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


class _Texts:
    """The lines, the most important first: a terminal of 80 columns cuts the rest."""

    def __init__(self) -> None:
        self._error = "no validation yet"

    def step(self, entry: dict[str, Any], total: int) -> str:
        """Where the run is, time left of the stage, error of the last validation; then what the last step gave."""
        left = timedelta(seconds=round(entry["seconds_left"]))
        term = next(name for name in ("completion", "masked") if name in entry)
        return (
            f"grid {entry['grid']} step {entry['step']}/{total}, {left} left, {self._error}; "
            f"{entry['slices_per_second']:.1f} slices/s, loss {entry['loss']:.3f}, ELBO loss {entry['elbo_loss']:.3f}, "
            f"{term} {entry[term]:.3f}, sigma {entry['sigma']:.3f}, gradient {entry['gradient_norm']:.2f}, "
            f"skipped {entry['skipped']}"
        )

    def validation(self, entry: dict[str, Any]) -> str:
        """The mean scores of the held-out slices."""
        self._error = f"validation NMSE {entry['nmse']:.4f}"

        def row(name: str, values: list[float], form: str) -> str:
            return f"    {name:32}" + "  ".join(format(value, form) for value in values)

        return "\n".join(
            [
                f"grid {entry['grid']} step {entry['step']}: validation NMSE {entry['nmse']:.4f} (amortized), "
                f"ELBO loss {entry['elbo_loss']:.4f} nats/dim",
                row("KL per scale (nats)", entry["kl"], ".1f"),
                row("error per scale (of its energy)", entry["error"], ".3f"),
                row("completion from 4x4, 8x8 ...", entry["completion"], ".3f"),
            ]
        )


class _Lines:
    """Plain lines, one every few seconds."""

    def __init__(self) -> None:
        self._texts = _Texts()
        self._last = 0.0

    def begin(self, text: str) -> None:
        click.echo(text, err=True)

    def step(self, entry: dict[str, Any], total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS or entry["step"] == total:
            self._last = now
            self.begin(self._texts.step(entry, total))

    def validation(self, entry: dict[str, Any]) -> None:
        self.begin(self._texts.validation(entry))


class _Live:
    """One line per stage, renewed in place, and its bar where the terminal is wide; the rest scrolls above."""

    def __init__(self, progress: Progress) -> None:
        self._texts = _Texts()
        self._progress = progress
        self._tasks: dict[int, TaskID] = {}

    def begin(self, text: str) -> None:
        # A folder may be called [red].
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def step(self, entry: dict[str, Any], total: int) -> None:
        stage = entry["stage"]
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task("", total=total)
        text = self._texts.step(entry, total)
        self._progress.update(self._tasks[stage], completed=entry["step"], description=text)

    def validation(self, entry: dict[str, Any]) -> None:
        self.begin(self._texts.validation(entry))


@contextmanager
def training_display() -> Iterator[Display]:
    """What `train` shows."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=20)
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        yield _Live(progress)
