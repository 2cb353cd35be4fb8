"""`mri-iahvae denoise`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.inference import inference_options
from mri_iahvae.cli.options import FiniteRange, coil_option
from mri_iahvae.cli.outputs import output_options
from mri_iahvae.cli.runs import file_options, file_processes, run_files
from mri_iahvae.cli.sampling import sampling_options
from mri_iahvae.errors import UsageError


@click.command()
@file_options("denoised")
@sampling_options
@click.option(
    "--sigma",
    type=FiniteRange(min=0),
    default=None,
    help="Noise level: standard deviation per real and imaginary part, in the units of the file.",
)
@click.option(
    "--relative-sigma",
    "relative",
    type=FiniteRange(min=0),
    default=None,
    help="Noise level per part as a multiple of the RMS of the noise-free slice.",
)
@coil_option
@output_options
@inference_options("soft")
def denoise(
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
    sigma: float | None,
    relative: float | None,
    settings: Any,  # noqa: ANN401 - an InferenceSettings
    keep_samples: bool,
    coil_combine: Any,  # noqa: ANN401 - one of click.Choice's strings
    outputs: Any,  # noqa: ANN401 - a pipeline.output.Outputs
) -> None:
    """Denoise k-space or images.

    Each INPUT is k-space (fastMRI HDF5, ISMRMRD raw data, BART .cfl, .npy) or an image as NIfTI; or a folder of
    HDF5 and NIfTI files. Without --sigma or --relative-sigma the noise
    level is the file's `noise_sigma` (dataset or attribute), else an estimate from the image background or the
    outermost k-space bins.

    \b
    Examples:
      mri-iahvae denoise scan.h5
      mri-iahvae denoise scan.h5 --relative-sigma 0.2 -o denoised
      mri-iahvae denoise t1.nii.gz --nifti
      mri-iahvae denoise scans --skip-existing
    """
    # Imported here: torch must not load for --help.
    from mri_iahvae.pipeline.loaded import LoadedModel  # noqa: PLC0415
    from mri_iahvae.tasks.denoise import denoise_file  # noqa: PLC0415

    if sigma is not None and relative is not None:
        raise UsageError("give --sigma or --relative-sigma, not both")
    with file_processes(device, devices, num_nodes, deterministic=deterministic) as where:
        loaded = LoadedModel.load(checkpoint, where)

        def run(path: Path, target: Path, start: Callable[..., Any]) -> dict[str, Any]:
            return denoise_file(
                loaded,
                path,
                target,
                settings,
                sampling=sampling,
                sigma=sigma,
                relative=relative,
                keep_samples=keep_samples,
                batch=batch,
                start=start,
                outputs=outputs,
                coil_combine=coil_combine,
            )

        run_files(inputs, output, run, skip_existing=skip_existing, as_json=as_json, quiet=quiet)
