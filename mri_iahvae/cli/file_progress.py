"""Progress over files and their slices, on stderr: bars on a terminal, plain lines elsewhere, or nothing.

Whatever else is printed meanwhile goes through `say`: a live display would be torn by it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Advance = Callable[[int], None]
"""Takes a number of slices of a file that are now finished."""

_LINE_SECONDS = 30.0  # between lines of one file: logs of a night stay readable


class FileProgress:
    """Progress over several files, one after another; this one shows none."""

    def start(self, name: str, slices: int) -> Advance:  # noqa: ARG002 - for those that show some
        return lambda _: None

    def finish(self) -> None:
        """The file is done, or failed, perhaps before it began."""

    def say(self, line: str, *, err: bool = True) -> None:
        click.echo(line, err=err)


@contextmanager
def file_progress(files: int, *, quiet: bool, name: str = "") -> Iterator[FileProgress]:
    """Progress over `files` files, unless `quiet`.

    Where several processes show theirs, `name` is this one's: progress is then in lines, which begin with it.
    """
    if quiet:
        yield FileProgress()
    elif name or not sys.stderr.isatty():
        yield _Lines(files, name)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),  # a file may be called [red].h5
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        # Hours pass between updates on slow machines: Rich forgets what is older than the period.
        display = Progress(
            *columns,
            console=Console(stderr=True),
            get_time=time.monotonic,
            transient=True,
            speed_estimate_period=86_400,
        )
        with display as bars:
            yield _Bars(bars, files)


class _Lines(FileProgress):
    """A line where a file begins, and one every while."""

    def __init__(self, files: int, name: str) -> None:
        self._files, self._name = files, name
        self._done = 0  # files
        self._began = time.monotonic()

    def start(self, name: str, slices: int) -> Advance:
        number = f"[{self._done + 1}/{self._files}] " if self._files > 1 else ""
        line = f"{self._name}{number}{name}: {slices} slice{'s' * (slices != 1)}"
        self.say(f"{line}; {self._times(self._done)}" if self._done else line)
        finished, last = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal finished, last
            finished += count
            if finished < slices and time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                times = self._times(self._done + finished / slices)
                self.say(f"{self._name}{name}: {finished}/{slices} slices; {times}")

        return advance

    def finish(self) -> None:
        self._done += 1

    def _times(self, done: float) -> str:
        """Time gone and left after `done` files, if the others take as long."""
        elapsed = time.monotonic() - self._began
        left = elapsed / done * (self._files - done)
        return f"{_clock(elapsed)} elapsed, about {_clock(left)} left"


class _Bars(FileProgress):
    """A bar for the file, and one above for all files where there are several."""

    def __init__(self, bars: "Progress", files: int) -> None:
        self._bars = bars
        self._done = 0  # files
        self._all = self._add("files", files) if files > 1 else None
        self._file: TaskID | None = None

    def start(self, name: str, slices: int) -> Advance:
        task = self._file = self._add(name, slices)

        def advance(count: int) -> None:
            self._bars.advance(task, count)
            if self._all is not None:
                self._bars.advance(self._all, count / slices)

        return advance

    def finish(self) -> None:
        self._done += 1
        if self._file is not None:
            self._bars.remove_task(self._file)
            self._file = None
        if self._all is not None:
            self._bars.update(self._all, completed=self._done)

    def _add(self, name: str, total: int) -> "TaskID":
        task = self._bars.add_task(name, total=total)
        self._bars.advance(task, 0)  # where its time begins: Rich estimates the time left from two updates on
        return task

    def say(self, line: str, *, err: bool = True) -> None:
        self._bars.stop()
        super().say(line, err=err)
        self._bars.start()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
