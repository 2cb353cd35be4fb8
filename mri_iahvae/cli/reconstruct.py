"""`mri-iahvae reconstruct`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import FiniteRange, seed_option
from mri_iahvae.cli.runs import inference_options, run_files


@click.command()
@inference_options(consistency="hard")
@click.option(
    "--up-to",
    metavar="SxS",
    default=None,
    help="Use the measured bins of the central SxS block only, S a power of two; all others come from the prior.",
)
@click.option(
    "--temperature",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    help="Draw scales without any measured bin from the prior; 0 takes its mean.",
)
@seed_option
def reconstruct(
    inputs: tuple[Path, ...],
    output: Path,
    checkpoint: str,
    method: Any,  # noqa: ANN401 - one of click.Choice's strings
    steps: int,
    data_consistency: Any,  # noqa: ANN401
    batch: int,
    device: str,
    as_json: bool,
    quiet: bool,
    up_to: str | None,
    temperature: float,
    seed: int,
) -> None:
    """Reconstruct undersampled k-space.

    Each INPUT is a fastMRI-schema HDF5 file. Measured bins are kept, all others are completed by the model.
    The result has the name of the input; a figure <stem>_kspace.png stands beside it. With a reference in the
    file, NMSE, PSNR and SSIM (fastMRI definitions) are printed and stored.

    \b
    Examples:
      mri-iahvae reconstruct scan.h5 --up-to 8x8
      mri-iahvae reconstruct masked/*.h5 -o results --json
    """
    # Imported here: torch must not load for --help.
    from mri_iahvae.inference.settings import InferenceSettings  # noqa: PLC0415
    from mri_iahvae.kspace.bands import parse_scale  # noqa: PLC0415
    from mri_iahvae.tasks.devices import find_device  # noqa: PLC0415
    from mri_iahvae.tasks.loaded import LoadedModel  # noqa: PLC0415
    from mri_iahvae.tasks.reconstruct import reconstruct_file  # noqa: PLC0415

    settings = InferenceSettings(
        method, steps, data_consistency=data_consistency, temperature=temperature, seed=seed
    )
    loaded = LoadedModel.load(checkpoint, find_device(device))
    limit = None if up_to is None else parse_scale(up_to, loaded.model.size)

    def run(path: Path, target: Path, start: Callable[..., Any]) -> dict[str, Any]:
        return reconstruct_file(loaded, path, target, settings, up_to=limit, batch=batch, start=start)

    run_files(inputs, output, run, as_json=as_json, quiet=quiet)
