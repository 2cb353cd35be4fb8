"""The loop over files: what it prints, and the exit code."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.file_progress import Advance, FileProgress, file_progress
from mri_iahvae.cli.interrupts import interrupts_kept
from mri_iahvae.cli.parts import Part
from mri_iahvae.cli.report import report_text
from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.words import counted

Start = Callable[[str, int], Advance]
"""Takes the name of a file and its number of slices; gives the function that is called with finished slices."""

Run = Callable[[Path, Path, Start], dict[str, Any]]
"""(input, output, start of progress) to report."""


def run_files(
    inputs: Sequence[Path],
    output: Path,
    load: Callable[[], Run],
    part: Part,
    *,
    skip_existing: bool,
    as_json: bool,
    quiet: bool,
    asked: Mapping[str, Any],
) -> None:
    """Run every file; one that fails does not stop the others, and what is done stays when the run is interrupted.

    It is known which files to do before `load` gives what does one. All that is said is said of this process's part of
    them. With `skip_existing` files are left out whose result exists: it is whole, as results are renamed into place;
    its record is compared with the options `asked` for. With `as_json` the reports are one JSON object at the end,
    interrupted or not.

    Raises:
        UsageError: a folder without scans; two inputs of one name, whose results would overwrite each other; or
            options that do not fit the only file.
        IahvaeError, SystemExit: as `exit_on_failures`.
    """
    from mri_iahvae.results.options import other_options
    from mri_iahvae.results.paths import output_path, possible_names
    from mri_iahvae.scans.listing import scan_files

    files = scan_files(inputs, series=bool(asked.get("series")))
    owners: dict[str, list[Path]] = {}
    for path in files:
        for name in possible_names(path):
            owners.setdefault(name, []).append(path)
    doubled = min((name for name, of in owners.items() if len(of) > 1), default=None)
    if doubled is not None:
        names = " and ".join(map(str, owners[doubled]))
        raise UsageError(f"{names}: the results would overwrite each other; run them into different folders")
    targets = {path: output_path(path, output) for path in part.of(files)}
    existing = {path: target for path, target in targets.items() if skip_existing and target.is_file()}
    name = f"part {part.number}/{part.count}: " if part.count > 1 else ""
    run = load() if len(existing) < len(targets) else None
    interrupted = False
    with file_progress(len(targets) - len(existing), quiet=quiet, name=name) as progress:
        outcomes = _Outcomes(len(targets), progress, as_json=as_json)
        if name and not quiet:
            progress.say(f"{name}{len(targets)} of {counted(len(files), 'file')} ({part.source})")
        for path, target in existing.items():
            outcomes.skip(path, target, other_options(target, asked))
        try:
            for path, target in targets.items():
                if run and path not in existing:
                    outcomes.run(path, target, run)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:  # here, where no live display can swallow it
        click.echo(json.dumps(outcomes.to_json(), indent=1))
    if interrupted:
        if len(targets) > 1:
            click.echo(f"{outcomes.line()}; --skip-existing goes on from here", err=True)
        raise KeyboardInterrupt
    if len(targets) > 1 and not quiet and not outcomes.failed:
        click.echo(outcomes.line(), err=True)
    errors = [failure["error"] for failure in outcomes.failed]
    exit_on_failures(errors, len(targets), skipped=len(outcomes.skipped))


def exit_on_failures(errors: Sequence[str], files: int, *, skipped: int = 0) -> None:
    """End a run over files by the errors of those that failed, which are shown already where there are several files.

    Raises:
        IahvaeError: the only file failed, or all did (exit code 1).
        SystemExit: with code 3 when some of several files failed.
    """
    if errors and files == 1:
        raise IahvaeError(errors[0])
    if errors and len(errors) == files:
        raise IahvaeError(f"all {files} files failed")
    if errors:
        done = files - skipped - len(errors)
        click.echo(_counts(files, done=done, skipped=skipped, failed=len(errors)), err=True)
        click.get_current_context().exit(3)


class _Outcomes:
    """What became of each file, printed at once: an interrupted night loses nothing."""

    def __init__(self, files: int, progress: FileProgress, *, as_json: bool) -> None:
        self.reports: list[dict[str, Any]] = []
        self.skipped: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []
        self._files, self._progress, self._as_json = files, progress, as_json

    def skip(self, path: Path, target: Path, other: Sequence[str]) -> None:
        skipped: dict[str, Any] = {"input": str(path), "output": str(target)}
        self.skipped.append({**skipped, "other_options": list(other)} if other else skipped)
        self._progress.say(f"{path}: skipped, {target} exists")
        if other:
            self._progress.say(f"Warning: {target}: made with other options, and left so: {', '.join(other)}")

    def run(self, path: Path, target: Path, run: Run) -> None:
        try:
            with interrupts_kept():
                report = run(path, target, self._progress.start)
        except IahvaeError as error:
            if isinstance(error, UsageError) and self._files == 1:
                raise  # the options' fault; of several files, this one's
            self._progress.finish()
            self.failed.append({"input": str(path), "error": str(error)})
            if self._files > 1:
                self._progress.say(f"Error: {error}")
            return
        self._progress.finish()
        self.reports.append(report)
        if not self._as_json:
            self._progress.say(report_text(report), err=False)
        for warning in report["warnings"]:
            self._progress.say(f"Warning: {path}: {warning}")

    def to_json(self) -> dict[str, Any]:
        return {"files": self.reports, "skipped": self.skipped, "failed": self.failed}

    def line(self) -> str:
        """How many files are done, skipped, failed and left."""
        counts = {"done": len(self.reports), "skipped": len(self.skipped), "failed": len(self.failed)}
        return _counts(self._files, **counts, left=self._files - sum(counts.values()))


def _counts(files: int, **counts: int) -> str:
    return f"{files} files: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
