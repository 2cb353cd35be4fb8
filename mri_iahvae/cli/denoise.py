"""`mri-iahvae denoise`."""

from typing import Any

import click

from mri_iahvae.cli.inference import common_options, inputs_argument, run, sampling_options
from mri_iahvae.cli.options import FiniteRange, SectionedCommand, section


@click.command(cls=SectionedCommand)
@inputs_argument
@section("Noise level",
    click.option("--sigma", type=FiniteRange(min=0), metavar="FLOAT",
        help="Standard deviation of the noise per real and imaginary part, in the units of the file."),
    click.option("--relative-sigma", type=FiniteRange(min=0), metavar="FLOAT",
        help="The same as a multiple of the RMS of the noise-free slice."),
)  # fmt: skip
@section("Sampling", *sampling_options)
@common_options("denoised", "soft")
def denoise(**options: Any) -> None:  # noqa: ANN401 - Click passes options by name
    """Denoise k-space or images.

    INPUT is k-space (fastMRI HDF5, ISMRMRD raw data, BART .cfl, .npy), an image as NIfTI, or a folder of HDF5 and
    NIfTI files. Without --sigma or --relative-sigma the noise level is the file's: `noise_sigma` (dataset or
    attribute), or by noise lines of ISMRMRD data. Without that it is estimated from the background of the image or
    the outermost bins of k-space.

    For each INPUT the folder of the results gets an HDF5 file of the same name, a figure <stem>_kspace.png and a
    report <stem>_report.json. NMSE, PSNR and SSIM (fastMRI definitions) are given where INPUT holds a reference.

    The exit code is 0, 1 (failed), 2 (wrong usage) or 3 (some of several files failed).

    \b
    Examples:
      mri-iahvae denoise scan.h5
      mri-iahvae denoise scan.h5 --relative-sigma 0.2 --quality best
      mri-iahvae denoise t1.nii.gz --nifti
    """
    run("denoise", **options)
