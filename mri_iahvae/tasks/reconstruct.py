"""Reconstruct undersampled k-space: arrays in and out, or files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import DataConsistency, InferenceSettings, Method
from mri_iahvae.kspace.bands import parse_scale
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.scans.reader import open_scan, require_grid
from mri_iahvae.tasks.devices import find_device
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.noise_level import scan_noise
from mri_iahvae.tasks.output import write_outputs
from mri_iahvae.tasks.volume import Progress, Reconstruction, reconstruct_volume


def reconstruct(
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None = None,
    *,
    up_to: str | None = None,
    method: Method = "hybrid",
    steps: int = 25,
    data_consistency: DataConsistency = "hard",
    noise_sigma: NDArray[np.floating] | float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int = 8,
) -> Reconstruction:
    """Reconstruct a volume from its measured k-space bins (Python API).

    Args:
        kspace: complex (slices, H, W), H = W at least the model's grid (128 for the shipped models), centred
            (DC at H // 2, W // 2), any units; values at unmeasured bins are ignored.
        mask: bool (H, W) or (slices, H, W), true where measured; None when everything is.
        up_to: "8x8" fixes the measured bins of the central 8 x 8 block as refinement targets; all others count
            as unmeasured and come from the prior. None uses every measured bin.
        method: "amortized", "iterative", "hybrid" or "paper".
        steps: gradient steps per scale.
        data_consistency: "hard" returns measured bins as they are, "soft" their posterior mean given
            `noise_sigma`, "none" the model's own.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`; one
            number or (slices,).
        temperature: scales without any measured bin are drawn from the prior at this temperature; 0 takes the
            prior mean.
        seed: of those draws.
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch: slices at a time.

    Returns:
        The complex image in the units of the input, its k-space, and what was measured and completed.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    settings = InferenceSettings(
        method, steps, data_consistency=data_consistency, temperature=temperature, seed=seed
    )
    model, _ = load_model(checkpoint, find_device(device))
    limit = None if up_to is None else parse_scale(up_to, model.size)
    return reconstruct_volume(
        model, kspace, mask, settings, up_to=limit, noise_sigma=noise_sigma, batch=batch
    )


def reconstruct_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    *,
    up_to: int | None,
    batch: int,
    start: Callable[[str, int], Progress],
) -> dict[str, Any]:
    """Reconstruct one fastMRI-schema file.

    Args:
        loaded: the model and where it came from.
        path: the input.
        output: where the result goes (`scans.writer.output_path`).
        settings: how; with "soft" data consistency the file's noise level is used, or an estimate.
        up_to: as in `reconstruct`, as a number.
        batch: slices at a time.
        start: told the file's name and number of slices, gives the progress to report to.

    Returns:
        The report, plain JSON values.

    Raises:
        ScanError: the file cannot be used.
        IahvaeError: the output cannot be written.
    """
    scan = open_scan(path)
    require_grid(scan, loaded.model.size)
    kspace = scan.read(slice(None))
    sigma, source = None, None
    if settings.data_consistency == "soft":
        sigma, source = scan_noise(scan, kspace, up_to=up_to)
    result = reconstruct_volume(
        loaded.model,
        kspace,
        scan.mask,
        settings,
        up_to=up_to,
        noise_sigma=0.0 if sigma is None else sigma,
        batch=batch,
        progress=start(path.name, scan.slices),
    )
    details: dict[str, Any] = {"task": "reconstruct", "up_to": up_to and f"{up_to}x{up_to}"}
    if sigma is not None:
        details |= {"noise_sigma": float(np.median(sigma)), "noise_source": source}
    return write_outputs(scan, result, output, loaded, details)
