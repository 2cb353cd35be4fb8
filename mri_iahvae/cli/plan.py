"""`mri-iahvae plan`."""

import json
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.inference import sampling_options
from mri_iahvae.cli.options import (
    EXISTING_FILE,
    SectionedCommand,
    checkpoint_option,
    device_option,
    fields_of,
    json_option,
    output_option,
    reading_options,
    section,
)
from mri_iahvae.cores import limit_threads


@click.command(cls=SectionedCommand)
@click.argument("path", metavar="SCAN", type=EXISTING_FILE)
@click.option("--lines", metavar="N", required=True, type=click.IntRange(min=1), help="Columns to plan.")
@click.option("--every", metavar="K", type=click.IntRange(min=1), show_default="never",
    help="Simulate the scan: take each K planned columns from SCAN, which must hold them, and estimate again before"
    " more are planned.")  # fmt: skip
@output_option("planned")
@checkpoint_option
@device_option
@json_option
@section("Sampling", *sampling_options)
@section("Reading", *reading_options[:-1])  # single bins are never left out, so there is no --keep-outliers
def plan(
    path: Path,
    lines: int,
    every: int | None,
    output: Path,
    checkpoint: str,
    device: str,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - fields of `Sampling` and `Reading`
) -> None:
    """Plan which columns of k-space to measure next.

    SCAN is single-coil k-space of which some columns are measured, such as a few around the centre, or is cut down to
    them by the options under Sampling. Each column is the one after which the guide expects the least squared error,
    as a sum over the slices.

    The folder of the results gets a mask of the measured and the planned columns, <stem>_plan.npy, for --mask of
    `reconstruct`, and a figure <stem>_plan.png of the expected error against the number of columns. The planned columns
    are printed in order; 0 is the first one of k-space.

    \b
    Examples:
      mri-iahvae plan undersampled.h5 --lines 8
      mri-iahvae plan scan.h5 --acceleration 16 --lines 8
      mri-iahvae plan scan.h5 --acceleration 16 --lines 8 --every 2
    """
    from mri_iahvae.model.checkpoint_config import find_checkpoint
    from mri_iahvae.scans.reader import Reading
    from mri_iahvae.scans.undersampling import Sampling

    sampling = Sampling(**fields_of(Sampling, options))
    reading = Reading(**fields_of(Reading, options))
    find_checkpoint(checkpoint)
    limit_threads()
    from mri_iahvae.pipeline.devices import find_device
    from mri_iahvae.pipeline.loaded import LoadedModel
    from mri_iahvae.tasks.plan import plan_file

    loaded = LoadedModel.load(checkpoint, find_device(device))
    report = plan_file(loaded, path, output, lines, every=every, sampling=sampling, reading=reading)
    for warning in report["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    first, last = report["expected_error"][0], report["expected_error"][-1]
    click.echo(f"{path}: columns {' '.join(map(str, report['columns']))}")
    click.echo(f"  expected squared error over energy: {first:.3g} before, {last:.3g} after")
    click.echo(f"  {report['mask']}\n  {report['picture']}")
