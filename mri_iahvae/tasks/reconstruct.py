"""Reconstruct undersampled k-space: arrays in and out, or files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import InferenceSettings, inference_settings
from mri_iahvae.kspace.bands import parse_scale
from mri_iahvae.scans.reader import open_scan, require_grid
from mri_iahvae.tasks.devices import find_device
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.noise_level import scan_noise
from mri_iahvae.tasks.output import write_outputs
from mri_iahvae.tasks.sampling import OWN_SAMPLING, Sampling
from mri_iahvae.tasks.volume import Progress, Reconstruction, reconstruct_volume


def reconstruct(
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None = None,
    *,
    up_to: str | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int | None = None,
    keep_samples: bool = False,
    **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
) -> Reconstruction:
    """Reconstruct a volume from its measured k-space bins (Python API).

    Args:
        kspace: complex (slices, H, W), H = W at least the model's grid (128 for the shipped models), centred
            (DC at H // 2, W // 2), any units; values at unmeasured bins are ignored.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when everything is.
        up_to: "8x8" fixes the measured bins of the central 8 x 8 block as refinement targets; all others count
            as unmeasured and come from the prior. None uses every measured bin.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`; one
            number or (slices,).
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch: slices at a time, halved when memory runs out; None: what suits the device.
        keep_samples: return every posterior sample, not only their mean and standard deviation.
        **settings: how, `InferenceSettings` by name: `method="hybrid", steps=10, samples=8` ...

    Returns:
        The complex image in the units of the input, its k-space, and what was measured and completed.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    chosen = inference_settings(**settings)
    loaded = LoadedModel.load(checkpoint, find_device(device))
    limit = None if up_to is None else parse_scale(up_to, loaded.model.size)
    return reconstruct_volume(
        loaded.model,
        kspace,
        mask,
        chosen,
        domain=loaded.domain,
        up_to=limit,
        noise_sigma=noise_sigma,
        keep_samples=keep_samples,
        batch=batch,
    )


def reconstruct_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    *,
    up_to: int | None,
    start: Callable[[str, int], Progress],
    sampling: Sampling = OWN_SAMPLING,
    keep_samples: bool = False,
    batch: int | None = None,
) -> dict[str, Any]:
    """Reconstruct one fastMRI-schema file.

    Args:
        loaded: the model and where it came from.
        path: the input.
        output: where the result goes (`scans.writer.output_path`).
        settings: how; with "soft" data consistency the file's noise level is used, or an estimate.
        up_to: as in `reconstruct`, as a number.
        start: told the file's name and number of slices, gives the progress to report to.
        sampling: which of the file's bins count as measured.
        keep_samples: write every posterior sample too.
        batch: slices at a time, as in `reconstruct`.

    Returns:
        The report, plain JSON values.

    Raises:
        ScanError: the file cannot be used.
        IahvaeError: the output cannot be written.
    """
    scan = open_scan(path)
    require_grid(scan, loaded.model.size)
    sampled = sampling.apply(scan, up_to)
    used = replace(scan, mask=sampled.mask)
    kspace = used.read(slice(None))
    sigma, source = None, None
    if settings.data_consistency == "soft":
        sigma, source = scan_noise(used, kspace)
    result = reconstruct_volume(
        loaded.model,
        kspace,
        sampled.mask,
        settings,
        domain=loaded.domain,
        noise_sigma=0.0 if sigma is None else sigma,
        keep_samples=keep_samples,
        batch=batch,
        progress=start(path.name, scan.slices),
    )
    details: dict[str, Any] = {"task": "reconstruct", "up_to": up_to and f"{up_to}x{up_to}"}
    if sigma is not None:
        details |= {"noise_sigma": float(np.median(sigma)), "noise_source": source}
    return write_outputs(scan, sampled, result, output, loaded, details)
