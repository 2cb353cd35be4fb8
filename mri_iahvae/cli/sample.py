"""`mri-iahvae sample`."""

import sys
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import (
    FiniteRange,
    SectionedCommand,
    batch_option,
    checkpoint_option,
    device_option,
    output_option,
    quiet_option,
    seed_option,
)
from mri_iahvae.cores import limit_threads


@click.command(cls=SectionedCommand)
@output_option("samples")
@click.option("--count", metavar="K", default=16, show_default=True, type=click.IntRange(1, 10_000),
    help="Images to draw.")  # fmt: skip
@click.option("--temperature", metavar="T", default=1.0, show_default=True, type=FiniteRange(min=0),
    help="Factor on the standard deviation of the latents; 0 gives the prior mean.")  # fmt: skip
@seed_option
@click.option(
    "--progression", is_flag=True, help="Store and show each image at scales 1x1, 2x2, 4x4 ... too."
)
@checkpoint_option
@batch_option
@device_option
@quiet_option
def sample(
    output: Path,
    count: int,
    progression: bool,
    checkpoint: str,
    device: str,
    quiet: bool,
    **options: Any,  # noqa: ANN401 - of `sample_to_folder`
) -> None:
    """Draw images from the prior: what the model expects a scan to look like before anything is measured.

    The folder of the results gets samples.h5 and a figure samples.png of the first magnitudes, each in its own grey
    window. samples.h5 holds `samples`: complex images in canonical units, which means a mean pixel power of about 1.
    --progression adds `progression` and a figure progression.png, with each image in one line. An image depends on
    its number and the seed only. The names of the files are printed.

    \b
    Examples:
      mri-iahvae sample
      mri-iahvae sample --count 4 --temperature 0.7 --progression -o drawn
    """
    from mri_iahvae.model.checkpoint_config import find_checkpoint

    find_checkpoint(checkpoint)
    limit_threads()
    from mri_iahvae.pipeline.devices import find_device
    from mri_iahvae.pipeline.loaded import LoadedModel
    from mri_iahvae.tasks.sample import sample_to_folder

    loaded = LoadedModel.load(checkpoint, find_device(device))
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)
    with click.progressbar(
        length=count, label="Drawing", show_pos=True, file=sys.stderr, hidden=quiet
    ) as bar:
        files = sample_to_folder(
            loaded, output, count, with_progression=progression, progress=bar.update, **options
        )
    for path in files:
        click.echo(path)
