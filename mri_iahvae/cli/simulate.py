"""`mri-iahvae simulate`."""

from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import (
    EXISTING,
    FiniteRange,
    SectionedCommand,
    drawn_options,
    noise_option,
    output_option,
    quiet_option,
    section,
    seed_option,
)


@click.command(cls=SectionedCommand)
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=EXISTING)
@section("Sampling", *drawn_options)
@output_option("simulated")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--phase", metavar="RADIANS", default=1.0, show_default=True, type=FiniteRange(min=0),
    help="Standard deviation of the smooth phase within a slice.")  # fmt: skip
@noise_option
@click.option("--reference", default="clean", show_default=True, type=click.Choice(["clean", "noisy"]),
    help="Write the noise-free image as the reference, or the noisy one, as in fastMRI.")  # fmt: skip
@seed_option
@quiet_option
def simulate(output: Path, quiet: bool, **settings: Any) -> None:  # noqa: ANN401 - Click passes options by name
    """Make fastMRI single-coil files from magnitude images.

    INPUT is NIfTI (.nii, .nii.gz; cut into axial slices), .npz with `images` (n, H, W) and optionally `subject`
    (n,), or a folder of PNG or JPEG slices. Each volume, subject or folder becomes one HDF5 file with simulated
    phase and noise. Slices are padded to squares of even size, at least 128 x 128. The names of the files are
    printed.

    \b
    Examples:
      mri-iahvae simulate brain.nii.gz -o scans
      mri-iahvae simulate slices.npz -o scans --noise 0.2
      mri-iahvae simulate brain.nii.gz -o scans --acceleration 4 --mask-type equispaced
    """
    from mri_iahvae.kspace.masks import drawn_mask

    names = "acceleration", "center_fraction", "mask_type", "mask_axis", "mask_seed"
    drawn_mask(*(settings[name] for name in names))
    from mri_iahvae.tasks import simulate as task

    def report(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    for path in task.simulate(output_dir=output, report=report, **settings):
        click.echo(path)
