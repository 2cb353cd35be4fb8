"""`mri-iahvae simulate`."""

from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import FiniteRange
from mri_iahvae.cli.sampling import column_options


@click.command()
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the results.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option(
    "--phase",
    metavar="RADIANS",
    default=1.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Standard deviation of the smooth phase within a slice.",
)
@click.option(
    "--noise",
    metavar="FLOAT",
    default=0.01,
    show_default=True,
    type=FiniteRange(min=0),
    help="Standard deviation of the noise per real and imaginary part, in units of the image's RMS.",
)
@click.option(
    "--reference",
    default="clean",
    show_default=True,
    type=click.Choice(["clean", "noisy"]),
    help="Write the noise-free image as the reference, or the noisy one, as in fastMRI.",
)
@click.option(
    "--seed", metavar="INT", default=0, show_default=True, type=int, help="Seed of phase and noise."
)
@column_options
def simulate(output: Path, **settings: Any) -> None:  # noqa: ANN401 - Click passes options by name
    """Make fastMRI single-coil files from magnitude images.

    INPUT is NIfTI (.nii, .nii.gz; cut into axial slices), .npz with `images` (n, H, W) and optionally `subject`
    (n,), or a folder of PNG or JPEG slices. Each volume, subject or folder becomes one HDF5 file with simulated
    phase and noise. Slices are padded to squares of even size, at least 128 x 128. The names of the files go to
    standard output.

    \b
    Examples:
      mri-iahvae simulate brain.nii.gz -o scans
      mri-iahvae simulate slices.npz -o scans --noise 0.2
      mri-iahvae simulate pictures -o scans
      mri-iahvae simulate brain.nii.gz -o scans --acceleration 4 --mask-type equispaced
    """
    from mri_iahvae.tasks import simulate as task  # noqa: PLC0415

    def report(line: str) -> None:
        click.echo(line, err=True)

    for path in task.simulate(output_dir=output, report=report, **settings):
        click.echo(path)
