"""Denoise k-space: every measured bin is uncertain by the noise level, the prior does the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import DataConsistency, InferenceSettings, Method
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.scans.reader import open_scan, require_grid
from mri_iahvae.tasks.devices import find_device
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.noise_level import scan_noise
from mri_iahvae.tasks.output import write_outputs
from mri_iahvae.tasks.volume import Progress, Reconstruction, reconstruct_volume


def denoise(
    kspace: NDArray[np.complexfloating],
    noise_sigma: NDArray[np.floating] | float,
    mask: NDArray[np.bool_] | None = None,
    *,
    method: Method = "hybrid",
    steps: int = 25,
    data_consistency: DataConsistency = "soft",
    seed: int = 0,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int = 8,
) -> Reconstruction:
    """Denoise a volume (Python API).

    Args:
        kspace: complex (slices, H, W), H = W at least the model's grid (128 for the shipped models), centred.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`
            (equally those of the image: the FFT is unitary); one number or (slices,).
        mask: bool (H, W) or (slices, H, W), true where measured; None when everything is.
        method: as in `reconstruct`.
        steps: gradient steps per scale.
        data_consistency: "soft" by default: a measured bin becomes its posterior mean.
        seed: stored with the result; nothing is drawn here as long as every scale is measured.
        checkpoint: as in `reconstruct`.
        device: as in `reconstruct`.
        batch: slices at a time.

    Returns:
        As `reconstruct`.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    settings = InferenceSettings(method, steps, data_consistency=data_consistency, seed=seed)
    model, _ = load_model(checkpoint, find_device(device))
    return reconstruct_volume(model, kspace, mask, settings, noise_sigma=noise_sigma, batch=batch)


def denoise_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    *,
    sigma: float | None,
    relative: float | None,
    batch: int,
    start: Callable[[str, int], Progress],
) -> dict[str, Any]:
    """Denoise one fastMRI-schema file.

    Args:
        loaded: the model and where it came from.
        path: the input.
        output: where the result goes.
        settings: how.
        sigma: noise level in the units of the file; None takes the next one that is there:
        relative: noise level as a multiple of the slice's RMS; the file's `noise_sigma`; an estimate.
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
    level, source = scan_noise(scan, kspace, sigma=sigma, relative=relative)
    result = reconstruct_volume(
        loaded.model,
        kspace,
        scan.mask,
        settings,
        noise_sigma=level,
        batch=batch,
        progress=start(path.name, scan.slices),
    )
    details = {
        "task": "denoise",
        "noise_sigma": float(np.median(level)),
        "noise_source": source,
        "relative_sigma": relative,
    }
    return write_outputs(scan, result, output, loaded, details)
