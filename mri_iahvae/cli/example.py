"""`mri-iahvae example`."""

from pathlib import Path

import click

from mri_iahvae.cli.options import FiniteRange


@click.command()
@click.argument("path", metavar="[FILE]", default="scan.h5", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@click.option(
    "--noise",
    metavar="FLOAT",
    default=0.01,
    show_default=True,
    type=FiniteRange(min=0),
    help="Standard deviation of the noise per real and imaginary part, in units of the image's RMS.",
)
@click.option(
    "--seed", metavar="INT", default=0, show_default=True, type=int, help="Seed of phase and noise."
)
def example(path: Path, overwrite: bool, noise: float, seed: int) -> None:
    """Write an example scan to FILE (scan.h5 by default): 24 slices of a head, 128x128, fully sampled.

    Its magnitude comes with nibabel; phase and noise are simulated.

    \b
    Examples:
      mri-iahvae example
      mri-iahvae example noisy.h5 --noise 0.5
    """
    from mri_iahvae.tasks.simulate import write_example  # noqa: PLC0415

    click.echo(write_example(path, noise=noise, seed=seed, overwrite=overwrite))
