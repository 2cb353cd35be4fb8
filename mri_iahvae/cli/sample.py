"""`mri-iahvae sample`."""

import sys
from pathlib import Path

import click

from mri_iahvae.cli.options import (
    FiniteRange,
    batch_option,
    checkpoint_option,
    device_option,
    seed_option,
)


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="samples",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the results.",
)
@click.option(
    "--count",
    metavar="K",
    default=16,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Images to draw.",
)
@click.option(
    "--temperature",
    metavar="T",
    default=1.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Factor on the standard deviation of the latents; 0 gives the prior mean.",
)
@seed_option
@click.option(
    "--progression",
    is_flag=True,
    help="Store and show each image summed up to the scales 1x1, 2x2, 4x4 ... too.",
)
@checkpoint_option
@batch_option
@device_option
def sample(
    output: Path,
    count: int,
    temperature: float,
    seed: int,
    progression: bool,
    checkpoint: str,
    batch: int | None,
    device: str,
) -> None:
    """Draw images from the prior: what the model expects a scan to look like before anything is measured.

    Writes samples.h5 (`samples`, complex, in canonical units: mean pixel power about 1; with --progression also
    `progression`) and figures of the first magnitudes: samples.png, each image in its own grey window, and
    progression.png, a row per image. An image depends on the seed and its number only. The names of the files go to
    standard output.

    \b
    Examples:
      mri-iahvae sample
      mri-iahvae sample --count 4 --temperature 0.7 --progression -o drawn
    """
    # Imported here: torch must not load for --help.
    from mri_iahvae.pipeline.devices import find_device  # noqa: PLC0415
    from mri_iahvae.pipeline.loaded import LoadedModel  # noqa: PLC0415
    from mri_iahvae.tasks.sample import sample_to_folder  # noqa: PLC0415

    loaded = LoadedModel.load(checkpoint, find_device(device))
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)
    with click.progressbar(length=count, label="Drawing", show_pos=True, file=sys.stderr) as bar:
        files = sample_to_folder(
            loaded,
            output,
            count,
            temperature=temperature,
            seed=seed,
            with_progression=progression,
            batch=batch,
            progress=bar.update,
        )
    for path in files:
        click.echo(path)
