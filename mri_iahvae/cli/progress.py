"""Progress on stderr: a live table on a terminal, plain lines elsewhere (cluster logs show nothing of a live one)."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mri_iahvae.training.recorder import Display

_LINE_SECONDS = 10.0


def _step_text(entry: dict[str, Any]) -> str:
    term = next(name for name in ("completion", "masked") if name in entry)
    return (
        f"loss {entry['loss']:.3f}  ELBO loss {entry['elbo_loss']:.3f}  {term} {entry[term]:.3f}  "
        f"sigma {entry['sigma']:.3f}  gradient {entry['gradient_norm']:.2f}  skipped {entry['skipped']}  "
        f"{entry['slices_per_second']:.1f} slices/s"
    )


def _validation_text(entry: dict[str, Any]) -> str:
    def row(name: str, values: list[float], form: str) -> str:
        return f"    {name:32}" + "  ".join(format(value, form) for value in values)

    return "\n".join(
        [
            f"grid {entry['grid']} step {entry['step']}: validation ELBO loss {entry['elbo_loss']:.4f} nats/dim, "
            f"amortized NMSE {entry['nmse']:.4f}",
            row("KL per scale (nats)", entry["kl"], ".1f"),
            row("error per scale (of its energy)", entry["error"], ".3f"),
            row("completion from 4x4, 8x8 ...", entry["completion"], ".3f"),
        ]
    )


class _Lines:
    """Plain lines, one every few seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def begin(self, text: str) -> None:
        click.echo(text, err=True)

    def step(self, entry: dict[str, Any], total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS or entry["step"] == total:
            self._last = now
            click.echo(f"grid {entry['grid']} step {entry['step']}/{total}: {_step_text(entry)}", err=True)

    def validation(self, entry: dict[str, Any]) -> None:
        click.echo(_validation_text(entry), err=True)


class _Live:
    """A rich progress bar per growth stage; validations scroll above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, Any] = {}

    def begin(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)  # a folder may be called [red]

    def step(self, entry: dict[str, Any], total: int) -> None:
        stage = entry["stage"]
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(f"grid {entry['grid']}", total=total, text="")
        self._progress.update(self._tasks[stage], completed=entry["step"], text=_step_text(entry))

    def validation(self, entry: dict[str, Any]) -> None:
        self._progress.console.print(_validation_text(entry), highlight=False)


@contextmanager
def training_display() -> Iterator[Display]:
    """What `train` shows."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Live(progress)
