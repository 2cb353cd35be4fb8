"""What `reconstruct` and `denoise` share: options, the loop over files, the report."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_iahvae.cli.file_progress import Advance, FileProgress, file_progress
from mri_iahvae.cli.interrupts import interrupts_kept
from mri_iahvae.cli.options import (
    batch_option,
    checkpoint_option,
    deterministic_option,
    device_option,
    devices_option,
    num_nodes_option,
)
from mri_iahvae.errors import IahvaeError, UsageError

if TYPE_CHECKING:
    import torch

Start = Callable[[str, int], Advance]
"""(name of a file, slices) to a function that is told of finished slices."""

Run = Callable[[Path, Path, Start], dict[str, Any]]
"""(input, output, start of progress) to report."""


def file_options(folder: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the files in and out, the model, and how the run reports.

    Args:
        folder: default of `--output`.
    """
    options = (
        click.argument(
            "inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path)
        ),
        click.option(
            "-o",
            "--output",
            metavar="DIR",
            default=folder,
            show_default=True,
            type=click.Path(path_type=Path),
            help="Folder of the results, HDF5 under the names of the inputs.",
        ),
        click.option(
            "--skip-existing",
            is_flag=True,
            help="Leave out inputs whose result exists already, whatever options made it.",
        ),
        checkpoint_option,
        batch_option,
        device_option,
        devices_option,
        num_nodes_option,
        deterministic_option,
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@contextmanager
def file_processes(
    device: str, devices: int, num_nodes: int, *, deterministic: bool
) -> "Iterator[torch.device]":
    """The device to compute on; of several processes, which are joined here, that of this one.

    Raises:
        UsageError: no such device.
        IahvaeError: a process has ended before its time.
    """
    from datetime import timedelta  # noqa: PLC0415 - with torch, which must not load for --help

    from mri_iahvae.pipeline.devices import compute_deterministically, find_device  # noqa: PLC0415
    from mri_iahvae.processes import Processes, joined  # noqa: PLC0415

    where = find_device(device)
    if deterministic:
        compute_deterministically(where)
    # Each waits until the last one has done its files; what they tell each other is no matter for a GPU.
    with joined(Processes(devices, num_nodes), where, timeout=timedelta(days=30), backend="gloo") as own:
        yield own


def run_files(
    inputs: Sequence[Path], output: Path, run: Run, *, skip_existing: bool, as_json: bool, quiet: bool
) -> None:
    """Run every file; one that fails does not stop the others, and what is done stays when the run is interrupted.

    Of several processes each runs its share, every so many files, and the first one tells what became of all.

    Args:
        inputs: files and folders of them (`scans.listing.scan_files`).
        output: folder of the results.
        run: does one file.
        skip_existing: leave out files whose result exists: it is whole, as results are renamed into place.
        as_json: print the reports as one JSON object at the end, interrupted or not, instead of one by one.
        quiet: show no progress.

    Raises:
        UsageError: a folder without scans; two inputs of one name, whose results would overwrite each other; or
            options that do not fit the only file.
        IahvaeError: the only file failed, or all did (exit code 1).
        SystemExit: with code 3 when some of several files failed.
    """
    # Imported here: h5py must not load for --help.
    from mri_iahvae.processes import of_the_first, process_count, rank  # noqa: PLC0415
    from mri_iahvae.results.paths import output_path, result_name  # noqa: PLC0415
    from mri_iahvae.scans.listing import scan_files  # noqa: PLC0415

    files = of_the_first(lambda: scan_files(inputs))
    stems = [Path(result_name(path)).stem for path in files]  # the figure has no other part of the name
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        names = " and ".join(str(path) for path, stem in zip(files, stems, strict=True) if stem == doubled[0])
        raise UsageError(f"{names}: the results would overwrite each other; run them into different folders")
    own = files[rank() :: process_count()]
    targets = {path: output_path(path, output) for path in own}
    existing = {path: target for path, target in targets.items() if skip_existing and target.is_file()}
    interrupted = False
    name = f"process {rank()}: " if process_count() > 1 else ""
    with file_progress(len(own) - len(existing), quiet=quiet, name=name) as progress:
        outcomes = _Outcomes(len(files), progress, as_json=as_json)
        for path, target in existing.items():
            outcomes.skip(path, target)
        try:
            for path, target in targets.items():
                if path not in existing:
                    outcomes.run(path, target, run)
        except KeyboardInterrupt:
            interrupted = True
    if not interrupted:
        outcomes.gather(files)
    if rank():  # the first one tells
        return
    outcomes.print_json()  # where no live display can swallow it
    if interrupted:
        if len(files) > 1:
            told = outcomes.line() if process_count() == 1 else "what is written stays"
            click.echo(f"{told}; --skip-existing goes on from here", err=True)
        raise KeyboardInterrupt
    errors = [failure["error"] for failure in outcomes.failed]
    if len(files) > 1 and not quiet and not errors:
        click.echo(outcomes.line(), err=True)
    exit_on_failures(errors, len(files), skipped=len(outcomes.skipped))


def exit_on_failures(errors: Sequence[str], files: int, *, skipped: int = 0) -> None:
    """End a run over files by what failed; nothing happens where nothing did.

    Args:
        errors: one per file that failed; shown already where there are several files.
        files: how many there were.
        skipped: how many of them were left out.

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
    """What became of each file, told at once: an interrupted night loses nothing."""

    def __init__(self, files: int, progress: FileProgress, *, as_json: bool) -> None:
        self.failed: list[dict[str, str]] = []
        self._files = files
        self._progress = progress
        self._as_json = as_json
        self._reports: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []

    def skip(self, path: Path, target: Path) -> None:
        self.skipped.append({"input": str(path), "output": str(target)})
        self._progress.say(f"{path}: skipped, {target} exists")

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
        self._reports.append(report)
        if not self._as_json:
            self._progress.say(_text(report), err=False)
        for warning in report["warnings"]:
            self._progress.say(f"Warning: {path}: {warning}")

    def gather(self, files: Sequence[Path]) -> None:
        """What became of the files of all processes, in the files' order."""
        from mri_iahvae.processes import gather  # noqa: PLC0415 - torch must not load for --help

        parts = gather((self._reports, self.skipped, self.failed))
        order = {str(path): number for number, path in enumerate(files)}
        self._reports, self.skipped, self.failed = (
            sorted(chain(*lists), key=lambda entry: order[entry["input"]])
            for lists in zip(*parts, strict=True)
        )

    def print_json(self) -> None:
        """Where it is wanted."""
        if self._as_json:
            found = {"files": self._reports, "skipped": self.skipped, "failed": self.failed}
            click.echo(json.dumps(found, indent=1))

    def line(self) -> str:
        """How many files are done, skipped, failed and left."""
        done, skipped, failed = len(self._reports), len(self.skipped), len(self.failed)
        left = self._files - done - skipped - failed
        return _counts(self._files, done=done, skipped=skipped, failed=failed, left=left)


def _counts(files: int, **counts: int) -> str:
    return f"{files} files: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _method(report: dict[str, Any]) -> str:
    """How it was computed."""
    words = [f"method {report['method']}"]
    if any(report["steps_used"]):
        numbers = " ".join(f"{steps:.3g}" for steps in report["steps_used"])
        words.append(f"mean steps at scales 1, 2, 4 ...: {numbers}")
    if report["samples"]:
        samples = f"{report['samples']} posterior sample{'s' * (report['samples'] > 1)}"
        words.append(f"{samples} at temperature {report['temperature']:g}")
    return "; ".join(words)


def _text(report: dict[str, Any]) -> str:
    """The report for a person."""
    # Imported here: with the titles of figures it loads NumPy, which --help does without.
    from mri_iahvae.results.report import image_names  # noqa: PLC0415

    values = {name: report[f"share_{name}"] for name in ("measured", "completed", "zero")}
    if report["task"] == "denoise" and not values["completed"]:
        del values["completed"]  # denoising completes nothing unless bins are missing
    shares = ", ".join(f"{share:.1%} {name}" for name, share in values.items())
    bins = "k-space of the coils" if "coils" in report else "k-space"
    slices = f"{report['slices']} slice{'s' * (report['slices'] != 1)}"
    lines = [f"{report['input']}: {slices}, {bins} {shares}"]
    rate = report["true_acceleration"]
    sampled = "nothing measured" if rate is None else f"true acceleration {rate:.2f}x"
    lines.append(f"  mask: {report['mask']}: {sampled}")
    lines.append(f"  {_method(report)}")
    if "noise_sigma" in report:
        lines.append(f"  noise sigma {report['noise_sigma']:.4g} per part ({report['noise_source']})")
    names = image_names(report["task"])
    for name, scores in report["scores"].items():
        units = {"psnr": " dB"}
        digits = {"nmse": "#.3g"}  # of low noise the fourth decimal is the first digit
        form = {
            k: "not defined" if v is None else f"{v:{digits.get(k, '.4f')}}{units.get(k, '')}"
            for k, v in scores.items()
        }
        lines.append(f"  {names[name]:15} NMSE {form['nmse']}  PSNR {form['psnr']}  SSIM {form['ssim']}")
    written = ("output", "report", "picture", "gif", "nifti")
    lines += [f"  {report[name]}" for name in written if name in report]
    return "\n".join(lines)
