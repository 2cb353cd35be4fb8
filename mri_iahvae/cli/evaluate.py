"""`mri-iahvae evaluate`."""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_iahvae.cli.options import (
    EXISTING,
    SectionedCommand,
    json_option,
    quiet_option,
    reading_options,
    section,
)
from mri_iahvae.cli.runs import exit_on_failures
from mri_iahvae.errors import UsageError
from mri_iahvae.words import counted

if TYPE_CHECKING:
    from mri_iahvae.evaluation.summary import Summary
    from mri_iahvae.tasks.evaluate import Evaluation

_FORMS = {"nmse": "#.3g", "psnr": ".2f", "ssim": ".4f"}
_LOG_WIDTH = 160  # columns of a table that goes to a file or pipe, which has no width of its own


@click.command(cls=SectionedCommand)
@click.argument("predictions", type=EXISTING)
@click.argument("targets", type=EXISTING)
@click.option("--target", metavar="NAME", show_default="reconstruction_esc or reconstruction_rss",
    help="Dataset of the target.")  # fmt: skip
@click.option(
    "--acquisition", metavar="NAME", help="Score only volumes of this acquisition, such as CORPD_FBK."
)
@click.option("--partial", is_flag=True, help="Leave out targets without a prediction, and say how many.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write all scores to this JSON file too.")  # fmt: skip
@section("Reading", *reading_options[:-1])  # outliers do not keep a target from being one
@json_option
@quiet_option
def evaluate(
    predictions: Path,
    targets: Path,
    target: str | None,
    acquisition: str | None,
    partial: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **reading: Any,  # noqa: ANN401 - fields of `Reading`
) -> None:
    """Score reconstructions against their targets as fastMRI does.

    PREDICTIONS is an HDF5 file with `reconstruction` (slices, height, width), or a folder of them; TARGETS is a
    fastMRI file, or a folder of files of the same names. Where there is no target dataset, the target is the image
    of fully sampled single-coil k-space.

    NMSE, PSNR and SSIM are those of a volume, cropped to the square of the target's width. The data range is the
    maximum of the target volume. The table gives the scores of each volume, and their mean +/- 2 standard deviations
    over the volumes of each acquisition and over all.

    \b
    Examples:
      mri-iahvae evaluate reconstructions singlecoil_val
      mri-iahvae evaluate reconstructions/scan.h5 scan.h5 -o scores.json
      mri-iahvae evaluate reconstructions singlecoil_val --acquisition CORPD_FBK
    """
    from mri_iahvae.files import require_fitting, write_json
    from mri_iahvae.scans.reader import Reading
    from mri_iahvae.tasks.evaluate import file_pairs, score_pairs

    pairs, left_out = file_pairs(predictions, targets, partial=partial)
    if output is not None and any(output.resolve() == path.resolve() for pair in pairs for path in pair):
        raise UsageError(f"--output {output}: that is one of the files to read; choose another name")
    if output is not None:
        require_fitting(output)
    with click.progressbar(pairs, label="Scoring", show_pos=True, file=sys.stderr, hidden=quiet) as bar:
        evaluation = score_pairs(
            bar, target=target, acquisition=acquisition, left_out=left_out, reading=Reading(**reading)
        )
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=1))
    elif evaluation.volumes:
        click.echo(_table(evaluation), nl=False)
    if evaluation.volumes and output is not None:
        write_json(output, evaluation.to_json())
    for volume in evaluation.volumes:
        if volume.mismatch:
            name = click.format_filename(volume.prediction.name)
            click.echo(f"Warning: {name}: {volume.mismatch}", err=True)
    files = len(evaluation.volumes) + len(evaluation.failures)
    errors = [failure.error for failure in evaluation.failures]
    if files > 1:
        for error in errors:
            click.echo(f"Error: {error}", err=True)
    exit_on_failures(errors, files)


def _table(evaluation: "Evaluation") -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("volume", overflow="fold")
    table.add_column("acquisition", overflow="fold")
    for name in ("slices", "NMSE", "PSNR (dB)", "SSIM"):
        table.add_column(name, justify="right", no_wrap=True)
    for volume in evaluation.volumes:
        cells = [format(getattr(volume.scores, name), form) for name, form in _FORMS.items()]
        # As text: a file may be called [red].h5, or have a name that no terminal can show.
        stem = Text(click.format_filename(volume.prediction.name))
        table.add_row(stem, Text(volume.acquisition), str(volume.slices), *cells)
    if len(evaluation.volumes) > 1:
        table.add_section()
        groups = evaluation.by_acquisition
        for acquisition, summary in groups.items() if len(groups) > 1 else ():
            table.add_row(_over(summary), Text(acquisition), "", *_cells(summary))
        if (overall := evaluation.overall) is not None:
            table.add_row(_over(overall), "all", "", *_cells(overall))
    if evaluation.left_out:
        table.add_section()
        table.add_row(f"{counted(evaluation.left_out, 'target')} left out", "no prediction")
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else _LOG_WIDTH).print(table)
    return text.getvalue()


def _over(summary: "Summary") -> str:
    return f"{summary.volumes} volumes, mean +/- 2 SD" if summary.volumes > 1 else "1 volume"


def _cells(summary: "Summary") -> list[str]:
    """Mean and two standard deviations of each score, as fastMRI prints them."""
    cells = []
    for name, form in _FORMS.items():
        deviation = f" +/- {2 * summary.std[name]:{form}}" if summary.volumes > 1 else ""
        cells.append(f"{summary.mean[name]:{form}}{deviation}")
    return cells
