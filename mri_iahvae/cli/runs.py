"""What `reconstruct` and `denoise` share: options, the loop over files, the report."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import batch_option, checkpoint_option, device_option
from mri_iahvae.errors import IahvaeError, UsageError

Start = Callable[[str, int], Callable[[int], None]]
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
            help="Folder of the results, under the names of the inputs.",
        ),
        checkpoint_option,
        batch_option,
        device_option,
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def run_files(inputs: Sequence[Path], output: Path, run: Run, *, as_json: bool, quiet: bool) -> None:
    """Run every file; one that fails does not stop the others.

    Args:
        inputs: files.
        output: folder of the results.
        run: does one file.
        as_json: print the reports as one JSON object.
        quiet: show no progress.

    Raises:
        UsageError: two inputs of one name, whose results would overwrite each other.
        IahvaeError: the only file failed, or all did (exit code 1).
        SystemExit: with code 3 when some of several files failed.
    """
    from mri_iahvae.scans.writer import output_path  # noqa: PLC0415 - h5py must not load for --help

    stems = [path.stem for path in inputs]  # the figure has no other part of the name
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        names = " and ".join(str(path) for path in inputs if path.stem == doubled[0])
        raise UsageError(f"{names}: the results would overwrite each other; run them into different folders")
    targets = [(path, output_path(path, output)) for path in inputs]
    reports: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with _progress(quiet=quiet) as (start, say):
        for path, target in targets:
            try:
                reports.append(run(path, target, start))
            except UsageError:
                raise
            except IahvaeError as error:
                failures.append({"input": str(path), "error": str(error)})
                if len(inputs) > 1:
                    say(f"Error: {error}")
    _print(reports, failures, as_json=as_json)
    exit_on_failures([failure["error"] for failure in failures], len(inputs))


def exit_on_failures(errors: Sequence[str], files: int) -> None:
    """End a run over files by what failed; nothing happens where nothing did.

    Args:
        errors: one per file that failed; shown already where there are several files.
        files: how many there were.

    Raises:
        IahvaeError: the only file failed, or all did (exit code 1).
        SystemExit: with code 3 when some of several files failed.
    """
    if errors and files == 1:
        raise IahvaeError(errors[0])
    if errors and len(errors) == files:
        raise IahvaeError(f"all {files} files failed")
    if errors:
        click.echo(f"{len(errors)} of {files} files failed", err=True)
        click.get_current_context().exit(3)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[tuple[Start, Callable[[str], None]]]:
    """Progress on stderr: a bar per file on a terminal, a line per file elsewhere, nothing when quiet.

    Yields the start of a file's progress, and a function that prints a line between.
    """

    def say(line: str) -> None:
        click.echo(line, err=True)

    if quiet:
        yield (lambda _name, _total: lambda _done: None), say
    elif not sys.stderr.isatty():

        def start(name: str, total: int) -> Callable[[int], None]:
            say(f"{name}: {total} slices")
            return lambda _done: None

        yield start, say
    else:
        from rich.console import Console  # noqa: PLC0415 - only where it shows something
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        name_column = TextColumn("{task.description}", markup=False)  # a file may be called [red].h5
        columns = (name_column, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:

            def begin(name: str, total: int) -> Callable[[int], None]:
                task = progress.add_task(name, total=total)
                return lambda done: progress.update(task, advance=done)

            def above(line: str) -> None:  # the bars; Click would write into them
                progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

            yield begin, above


def _print(reports: list[dict[str, Any]], failures: list[dict[str, str]], *, as_json: bool) -> None:
    """Reports on stdout, warnings on stderr."""
    if as_json:
        click.echo(json.dumps({"files": reports, "failed": failures}, indent=1))
    else:
        for report in reports:
            click.echo(_text(report))
    for report in reports:
        for warning in report["warnings"]:
            click.echo(f"Warning: {report['input']}: {warning}", err=True)


def _method(report: dict[str, Any]) -> str:
    """How it was computed."""
    words = [f"method {report['method']}"]
    if any(report["steps_used"]):
        numbers = " ".join(f"{steps:.3g}" for steps in report["steps_used"])
        words.append(f"mean steps at scales 1, 2, 4 ...: {numbers}")
    if report["samples"]:
        words.append(f"{report['samples']} posterior samples at temperature {report['temperature']:g}")
    return "; ".join(words)


def _text(report: dict[str, Any]) -> str:
    """The report for a person."""
    shares = ", ".join(f"{report[f'share_{name}']:.1%} {name}" for name in ("measured", "completed", "zero"))
    lines = [f"{report['input']}: {report['slices']} slices, k-space {shares}"]
    rate = report["true_acceleration"]
    sampled = "nothing measured" if rate is None else f"true acceleration {rate:.1f}x"
    lines.append(f"  mask: {report['mask']}: {sampled}")
    lines.append(f"  {_method(report)}")
    if "noise_sigma" in report:
        lines.append(f"  noise sigma {report['noise_sigma']:.4g} per part ({report['noise_source']})")
    for name, values in report["scores"].items():
        units = {"psnr": " dB"}
        form = {k: "not defined" if v is None else f"{v:.4f}{units.get(k, '')}" for k, v in values.items()}
        lines.append(f"  {name:15} NMSE {form['nmse']}  PSNR {form['psnr']}  SSIM {form['ssim']}")
    lines.append(f"  {report['output']}\n  {report['picture']}")
    return "\n".join(lines)
