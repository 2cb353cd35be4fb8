"""Progress over files and their slices, on stderr: bars on a terminal, plain lines elsewhere, or nothing.

Whatever else is printed meanwhile goes through `say`: a live display would be torn by it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]
"""Told of finished slices of a file."""

_LINE_SECONDS = 30.0  # between lines of one file: logs of a night stay readable


class FileProgress(Protocol):
    """Progress over several files, one after another."""

    def start(self, name: str, slices: int) -> Advance:
        """A file of that many slices begins."""

    def finish(self) -> None:
        """The file is done, or failed, perhaps before it began."""

    def say(self, line: str, *, err: bool = True) -> None:
        """Print a line, on stderr or stdout."""


@contextmanager
def file_progress(files: int, *, quiet: bool, name: str = "") -> Iterator[FileProgress]:
    """Progress over `files` files.

    Args:
        files: how many.
        quiet: show none.
        name: of this process where several show theirs: then always in lines, which begin with it.
    """
    if quiet:
        yield _Silence()
    elif name or not sys.stderr.isatty():
        yield _Lines(files, name)
    else:
        from rich.console import Console  # noqa: PLC0415 - only where it shows something
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (
            TextColumn("{task.description}", markup=False),  # a file may be called [red].h5
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bars(bars, files)


class _Silence:
    """Only what is said."""

    def start(self, name: str, slices: int) -> Advance:  # noqa: ARG002 - the protocol's
        return lambda _: None

    def finish(self) -> None:
        pass

    def say(self, line: str, *, err: bool = True) -> None:
        click.echo(line, err=err)


class _Lines(_Silence):
    """A line where a file begins, and one every while."""

    def __init__(self, files: int, name: str = "") -> None:
        self._files = files
        self._name = name
        self._done = 0  # files
        self._began = time.monotonic()

    def start(self, name: str, slices: int) -> Advance:
        line = f"{name}: {slices} slice{'s' * (slices != 1)}"
        if self._files > 1:
            line = f"[{self._done + 1}/{self._files}] {line}"
        line = self._name + line
        self.say(f"{line}; {self._times(self._done)}" if self._done else line)
        finished, last = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal finished, last
            finished += count
            if finished < slices and time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                self.say(
                    f"{self._name}{name}: {finished}/{slices} slices; {self._times(self._done + finished / slices)}"
                )

        return advance

    def finish(self) -> None:
        self._done += 1

    def _times(self, done: float) -> str:
        """Time gone and left after `done` files, if the others take as long."""
        elapsed = time.monotonic() - self._began
        return f"{_clock(elapsed)} elapsed, {_left(elapsed, done, self._files)}"


class _Bars:
    """A bar for the file, and one above for all files where there are several."""

    def __init__(self, bars: "Progress", files: int) -> None:
        self._bars = bars
        self._done = 0  # files
        self._all = _Bar(bars, "files", files) if files > 1 else None
        self._file: _Bar | None = None

    def start(self, name: str, slices: int) -> Advance:
        bar = self._file = _Bar(self._bars, name, slices)

        def advance(count: int) -> None:
            bar.move(bar.done + count)
            if self._all is not None:
                self._all.move(self._done + bar.done / slices)

        return advance

    def finish(self) -> None:
        self._done += 1
        if self._file is not None:
            self._bars.remove_task(self._file.task)
            self._file = None
        if self._all is not None:
            self._all.move(self._done)

    def say(self, line: str, *, err: bool = True) -> None:
        self._bars.stop()
        click.echo(line, err=err)
        self._bars.start()


class _Bar:
    """A bar with the time left. Rich's own estimate wants several updates: a file may have but one."""

    def __init__(self, bars: "Progress", name: str, total: int) -> None:
        self.done = 0.0
        self.task = bars.add_task(name, total=total, left="")
        self._bars = bars
        self._total = total
        self._began = time.monotonic()

    def move(self, done: float) -> None:
        self.done = done
        left = _left(time.monotonic() - self._began, done, self._total)
        self._bars.update(self.task, completed=done, left=left)


def _left(elapsed: float, done: float, total: float) -> str:
    return f"about {_clock(elapsed / done * (total - done))} left"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
