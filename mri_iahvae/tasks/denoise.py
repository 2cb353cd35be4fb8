"""Denoise k-space: every measured bin is uncertain by the noise level, the prior does the rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.inference.settings import InferenceSettings, inference_settings
from mri_iahvae.kspace.noise import estimate_sigma
from mri_iahvae.scans.reader import Scan, open_scan, require_grid
from mri_iahvae.tasks.devices import find_device
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.noise_level import scan_noise
from mri_iahvae.tasks.output import write_outputs
from mri_iahvae.tasks.sampling import OWN_SAMPLING, Sampling
from mri_iahvae.tasks.volume import Progress, Reconstruction, reconstruct_volume

_FAR_ABOVE = 3.0  # times the estimate, which errs by less


def denoise(
    kspace: NDArray[np.complexfloating],
    noise_sigma: NDArray[np.floating] | float,
    mask: NDArray[np.bool_] | None = None,
    *,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int | None = None,
    keep_samples: bool = False,
    **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
) -> Reconstruction:
    """Denoise a volume (Python API).

    Args:
        kspace: complex (slices, H, W), H = W at least the model's grid (128 for the shipped models), centred.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`
            (equally those of the image: the FFT is unitary); one number or (slices,).
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when everything is.
        checkpoint: as in `reconstruct`.
        device: as in `reconstruct`.
        batch: as in `reconstruct`.
        keep_samples: as in `reconstruct`.
        **settings: as in `reconstruct`; `data_consistency` is "soft" by default: a measured bin becomes its
            posterior mean.

    Returns:
        As `reconstruct`.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    chosen = inference_settings(**{"data_consistency": "soft", **settings})
    loaded = LoadedModel.load(checkpoint, find_device(device))
    return reconstruct_volume(
        loaded.model,
        kspace,
        mask,
        chosen,
        domain=loaded.domain,
        noise_sigma=noise_sigma,
        keep_samples=keep_samples,
        batch=batch,
    )


def denoise_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    *,
    sigma: float | None,
    relative: float | None,
    start: Callable[[str, int], Progress],
    sampling: Sampling = OWN_SAMPLING,
    keep_samples: bool = False,
    batch: int | None = None,
) -> dict[str, Any]:
    """Denoise one fastMRI-schema file.

    Args:
        loaded: the model and where it came from.
        path: the input.
        output: where the result goes.
        settings: how.
        sigma: noise level in the units of the file; None takes the next one that is there:
        relative: noise level as a multiple of the slice's RMS; the file's `noise_sigma`; an estimate.
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
    sampled = sampling.apply(scan)
    used = replace(scan, mask=sampled.mask)
    kspace = used.read(slice(None))
    level, source = scan_noise(used, kspace, sigma=sigma, relative=relative)
    result = reconstruct_volume(
        loaded.model,
        kspace,
        sampled.mask,
        settings,
        domain=loaded.domain,
        noise_sigma=level,
        keep_samples=keep_samples,
        batch=batch,
        progress=start(path.name, scan.slices),
    )
    details = {
        "task": "denoise",
        "noise_sigma": float(np.median(level)),
        "noise_source": source,
        "relative_sigma": relative,
    }
    return write_outputs(scan, sampled, result, output, loaded, details, _doubts(used, kspace, level, source))


def _doubts(scan: Scan, kspace: NDArray[np.complex64], level: NDArray[np.floating], source: str) -> list[str]:
    """A stated level far above what the data show would smooth away anatomy."""
    if source == "estimate":
        return []
    seen = estimate_sigma(torch.from_numpy(kspace), torch.from_numpy(scan.mask))
    stated = float(np.median(level))
    if seen == 0 or stated <= _FAR_ABOVE * seen:
        return []
    return [
        f"the noise level taken is {stated / seen:.0f} times the estimate from the data, {seen:.3g}: is it right?"
    ]
