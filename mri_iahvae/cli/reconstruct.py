"""`mri-iahvae reconstruct`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.inference import inference_options
from mri_iahvae.cli.options import coil_option
from mri_iahvae.cli.outputs import output_options
from mri_iahvae.cli.runs import file_options, file_processes, run_files
from mri_iahvae.cli.sampling import sampling_options


@click.command()
@file_options("reconstructions")
@sampling_options
@click.option(
    "--up-to",
    metavar="SxS",
    default=None,
    help="Use the measured bins of the central SxS block only, S a power of two; all others come from the prior.",
)
@coil_option
@output_options
@inference_options("hard")
def reconstruct(
    inputs: tuple[Path, ...],
    output: Path,
    skip_existing: bool,
    checkpoint: str,
    batch: int | None,
    device: str,
    devices: int,
    num_nodes: int,
    deterministic: bool,
    as_json: bool,
    quiet: bool,
    sampling: Any,  # noqa: ANN401 - a scans.undersampling.Sampling
    up_to: str | None,
    settings: Any,  # noqa: ANN401 - an InferenceSettings
    keep_samples: bool,
    coil_combine: Any,  # noqa: ANN401 - one of click.Choice's strings
    outputs: Any,  # noqa: ANN401 - a pipeline.output.Outputs
) -> None:
    """Reconstruct undersampled k-space.

    Each INPUT is k-space (fastMRI HDF5, ISMRMRD raw data, BART .cfl, .npy) or an image as NIfTI, whose k-space is
    its FFT; or a folder of HDF5 and NIfTI files. Measured bins are kept, all others are completed
    by the model. The result has the name of the input (.h5); a figure <stem>_kspace.png stands beside it. With a
    reference in the file, NMSE, PSNR and SSIM (fastMRI definitions) are printed and stored.

    \b
    Examples:
      mri-iahvae reconstruct scan.h5 --up-to 8x8
      mri-iahvae reconstruct scan.h5 --acceleration 4 --mask-type equispaced
      mri-iahvae reconstruct masked -o results --skip-existing --json
    """
    # Imported here: torch must not load for --help.
    from mri_iahvae.kspace.bands import parse_scale  # noqa: PLC0415
    from mri_iahvae.pipeline.loaded import LoadedModel  # noqa: PLC0415
    from mri_iahvae.tasks.reconstruct import reconstruct_file  # noqa: PLC0415

    with file_processes(device, devices, num_nodes, deterministic=deterministic) as where:
        loaded = LoadedModel.load(checkpoint, where)
        limit = None if up_to is None else parse_scale(up_to, loaded.model.size)

        def run(path: Path, target: Path, start: Callable[..., Any]) -> dict[str, Any]:
            return reconstruct_file(
                loaded,
                path,
                target,
                settings,
                sampling=sampling,
                up_to=limit,
                keep_samples=keep_samples,
                batch=batch,
                start=start,
                outputs=outputs,
                coil_combine=coil_combine,
            )

        run_files(inputs, output, run, skip_existing=skip_existing, as_json=as_json, quiet=quiet)
