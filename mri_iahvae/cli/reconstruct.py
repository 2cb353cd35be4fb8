"""`mri-iahvae reconstruct`."""

from typing import Any

import click

from mri_iahvae.cli.inference import common_options, inputs_argument, run, sampling_options
from mri_iahvae.cli.options import SectionedCommand, compare_list, section


@click.command(cls=SectionedCommand)
@inputs_argument
@section("Sampling", *sampling_options,
    click.option("--up-to", metavar="SxS",
        help="Use only the measured bins of the central SxS block, such as 8x8 or 8. S is a power of two."),
)  # fmt: skip
@section("Frames in time",
    click.option("--series", is_flag=True, default=None,
        help="Take the slices of a file, or the files of a folder, for frames in time: each is estimated from all."
        " Writes an animation <stem>_cine.gif and a time profile <stem>_profile.png too."),
)  # fmt: skip
@section("Comparison",
    click.option("--compare", type=compare_list, metavar="NAME[=WEIGHT],...",
        help="Methods beside the result, with scores and panels (tv, tv-error ...): zero-filled, tv (total variation),"
        " wavelet (L1), and of several coils sense. WEIGHT times the noise level is the weight of the regularisation."
        " tv and wavelet need sigpy, the extra compare."),
)  # fmt: skip
@common_options("reconstructions", "hard")
def reconstruct(**options: Any) -> None:  # noqa: ANN401 - Click passes options by name
    """Reconstruct undersampled k-space.

    INPUT is k-space (fastMRI HDF5, ISMRMRD raw data, BART .cfl, .npy), an image as NIfTI, whose FFT is taken as
    k-space, or a folder of HDF5 and NIfTI files. Measured bins are kept. The model completes the others.

    For each INPUT the folder of the results gets an HDF5 file of the same name, a figure <stem>_kspace.png and a
    report <stem>_report.json. NMSE, PSNR and SSIM (fastMRI definitions) are given where INPUT holds a reference.

    The exit code is 0, 1 (failed), 2 (wrong usage) or 3 (some of several files failed).

    \b
    Examples:
      mri-iahvae reconstruct scan.h5 --up-to 8x8
      mri-iahvae reconstruct scan.h5 --acceleration 4 --quality fast
      mri-iahvae reconstruct scan.h5 --acceleration 4 --compare tv,wavelet
      mri-iahvae reconstruct singlecoil_test -o results --skip-existing
    """
    run("reconstruct", **options)
