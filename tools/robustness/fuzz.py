"""Damaged and hostile files of every kind that the tool reads: each is read, or refused in one line.

    python -m tools.robustness.fuzz --mutations 20000 --seed 0 --json tools/robustness/fuzz.json

Workers read the files, with a limit of time for each file and of memory for the worker; a crash or a hang ends a
worker, is counted, and another goes on. A file outside, at which hostile links and external data point, is watched
for being opened (Linux). A case is a function of the seed and its number: `--case` runs one of them in this process.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import click
import h5py
import numpy as np

from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import write_json
from tools.robustness.subjects import SUBJECTS, mutate

_MIB = 2**20
_LONGEST_LINE = 1000
_BATCH = 500  # cases of one worker, so that leaks of the libraries do not add up
_IN_OPEN = 0x20


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds of wall time, and MiB of address space beyond the worker's own."""

    seconds: float = 10.0
    mib: int = 2048


@dataclass(frozen=True)
class Case:
    """What became of one damaged file.

    Attributes:
        number: of the case.
        subject: kind of file.
        outcome: "read", "refused", "crashed" (another error than ours or a warning, the end of the process, or the
            file outside was opened) or "hung".
        detail: message.
        seconds: taken; 0 where the worker ended.
        mib: by which the peak of memory of its worker grew.
    """

    number: int
    subject: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    mib: float = 0.0


def fuzz(numbers: range, seed: int, limits: Limits) -> list[Case]:
    """Run cases.

    Args:
        numbers: of the cases; each takes the next of the subjects.
        seed: of all changes.
        limits: for each file.

    Returns:
        The cases, in their order.
    """
    with tempfile.TemporaryDirectory() as place:
        build(Path(place))
        return list(_run(numbers, seed, limits, Path(place)))


def subject_of(number: int) -> str:
    """Key of `SUBJECTS`, which take turns."""
    return list(SUBJECTS)[number % len(SUBJECTS)]


def build(folder: Path) -> None:
    """Write whole inputs of all subjects into a folder of their own each, and the file outside."""
    with h5py.File(folder / "outside.h5", "w") as file:
        file["kspace"] = np.full((2, 16, 16), 7, np.complex64)
    for name, subject in SUBJECTS.items():
        (folder / name).mkdir()
        subject.build(folder / name)


@contextmanager
def watched(path: Path) -> Iterator[Callable[[], bool]]:
    """Yields a function: whether a file has been opened since its last call. Always false where there is no inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        yield lambda: False
        return
    queue = libc.inotify_init1(os.O_NONBLOCK)

    def opened() -> bool:
        try:
            return bool(os.read(queue, 2**16))
        except BlockingIOError:
            return False

    try:
        if queue < 0 or libc.inotify_add_watch(queue, os.fsencode(path), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        yield opened
    finally:
        os.close(queue)


def one_case(number: int, seed: int, folder: Path, opened: Callable[[], bool]) -> Case:
    """Damage a copy of an input and read it.

    Args:
        number: of the case.
        seed: of all changes.
        folder: as `build` leaves it.
        opened: whether the file outside was.

    Raises:
        Exception: whatever is no error of ours.
    """
    name = subject_of(number)
    subject, rng = SUBJECTS[name], np.random.default_rng([seed, number])
    inputs: dict[str, list[Path]] = {}
    for path in sorted((folder / name).iterdir()):
        inputs.setdefault(path.name.partition(".")[0], []).append(path)
    chosen = list(inputs.values())[int(rng.integers(len(inputs)))]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for path in chosen:
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, Path(place) / path.name)
        mutate(Path(place), rng, folder / "outside.h5", subject)
        start = time.perf_counter()
        outcome, message = "read", ""
        opened()  # for the damage, perhaps
        try:
            subject.read(Path(place) / chosen[0].name)
        except IahvaeError as error:
            outcome, message = "refused", str(error).replace(place, "")
        if opened():
            raise AssertionError("the file outside was opened")
        if "\n" in message or len(message) > _LONGEST_LINE:
            raise AssertionError(f"not one line: {message[:200]!r}, {len(message)} characters")
        return Case(number, name, outcome, message, time.perf_counter() - start)


def _run(numbers: range, seed: int, limits: Limits, folder: Path) -> Iterator[Case]:
    context = get_context("forkserver")  # workers start from a process without threads
    context.set_forkserver_preload(["tools.robustness.subjects"])  # which takes a while
    left = list(numbers)
    while left:
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, left[:_BATCH], seed, limits, folder)
        worker = context.Process(target=_work, args=arguments)
        worker.start()
        theirs.close()
        done = 0
        for case in _received(ours):
            done += 1
            yield case
        worker.join()
        if worker.exitcode:
            # With its own handlers off, the alarm ends a worker even within a library.
            hung = worker.exitcode == -signal.SIGALRM
            outcome, detail = "hung" if hung else "crashed", f"exit code {worker.exitcode}"
            yield Case(left[done], subject_of(left[done]), outcome, detail)
            done += 1
        left = left[done:]


def _received(pipe: Connection) -> Iterator[Case]:
    with pipe:
        while True:
            try:
                yield pipe.recv()
            except EOFError:
                return


def _work(pipe: Connection, numbers: list[int], seed: int, limits: Limits, folder: Path) -> None:
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    most = pages * resource.getpagesize() + limits.mib * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with watched(folder / "outside.h5") as opened:
        for number in numbers:
            before = _peak()
            signal.setitimer(signal.ITIMER_REAL, limits.seconds)
            try:
                case = one_case(number, seed, folder, opened)
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"[:300]
                case = Case(number, subject_of(number), "crashed", detail)
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send(replace(case, mib=(_peak() - before) / _MIB))


def _peak() -> float:
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def summary(cases: list[Case]) -> dict[str, object]:
    """Counts by subject and outcome, and the worst cases."""
    counts: dict[str, Counter[str]] = {}
    for case in cases:
        counts.setdefault(case.subject, Counter())[case.outcome] += 1
    failed = [case for case in cases if case.outcome in {"crashed", "hung"}]
    slowest, largest = max(cases, key=lambda c: c.seconds), max(cases, key=lambda c: c.mib)
    return {
        "mutations": len(cases),
        "outcomes": dict(Counter(case.outcome for case in cases)),
        "subjects": {name: dict(found) for name, found in counts.items()},
        "slowest": {"case": slowest.number, "subject": slowest.subject, "seconds": round(slowest.seconds, 3)},
        "largest": {"case": largest.number, "subject": largest.subject, "mib": round(largest.mib, 1)},
        "failed": [{"case": c.number, "subject": c.subject, "detail": c.detail} for c in failed],
    }


@click.command()
@click.option("--mutations", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--case", "number", type=click.IntRange(0), help="Run this one alone, here, with its traceback."
)
@click.option("--seconds", type=float, default=Limits.seconds, show_default=True, help="Limit for each file.")
@click.option("--mib", type=int, default=Limits.mib, show_default=True, help="Limit for each file.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Counts and failures go here.")
def main(
    mutations: int, seed: int, number: int | None, seconds: float, mib: int, output: Path | None
) -> None:
    """Print what became of the files; exit code 1 where one crashed, hung, or led to another file."""
    if number is not None:
        with tempfile.TemporaryDirectory() as place:
            build(Path(place))
            with watched(Path(place) / "outside.h5") as opened:
                click.echo(one_case(number, seed, Path(place), opened))
        return
    start = time.perf_counter()
    cases = fuzz(range(mutations), seed, Limits(seconds, mib))
    found = {"seed": seed, **summary(cases), "minutes": round((time.perf_counter() - start) / 60, 1)}
    click.echo(json.dumps(found, indent=1))
    if output is not None:
        write_json(output, found)
    if found["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
