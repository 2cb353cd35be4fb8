"""`mri-iahvae example`."""

from pathlib import Path

import click

from mri_iahvae.cli.options import SectionedCommand, noise_option, seed_option
from mri_iahvae.files import require_new


@click.command(cls=SectionedCommand)
@click.argument("path", metavar="[FILE]", default="scan.h5", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@noise_option
@seed_option
def example(path: Path, overwrite: bool, noise: float, seed: int) -> None:
    """Write an example scan to FILE (scan.h5 by default): 24 slices of a head, 128x128, fully sampled.

    The magnitude comes with nibabel. Phase and noise are simulated.

    \b
    Examples:
      mri-iahvae example
      mri-iahvae example noisy.h5 --noise 0.5
    """
    require_new(path, overwrite=overwrite)
    from mri_iahvae.tasks.simulate import write_example

    click.echo(write_example(path, noise=noise, seed=seed, overwrite=overwrite))
