"""Denoise k-space: every measured bin is uncertain by the noise level, the prior does the rest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import InferenceSettings, inference_settings
from mri_iahvae.pipeline.devices import find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import CoilCombine
from mri_iahvae.pipeline.output import PLAIN, Outputs
from mri_iahvae.pipeline.stream import Request, Start, run_file
from mri_iahvae.pipeline.volume import Reconstruction, reconstruct_volume
from mri_iahvae.scans.undersampling import OWN_SAMPLING, Sampling


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
        kspace: as in `reconstruct`.
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
    result = reconstruct_volume(
        loaded.model,
        kspace,
        mask,
        chosen,
        domain=loaded.domain,
        noise_sigma=noise_sigma,
        keep_samples=keep_samples,
        batch=batch,
    )
    return replace(result, warnings=(*loaded.warnings, *result.warnings))


def denoise_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    *,
    sigma: float | None,
    relative: float | None,
    start: Start,
    sampling: Sampling = OWN_SAMPLING,
    keep_samples: bool = False,
    batch: int | None = None,
    outputs: Outputs = PLAIN,
    coil_combine: CoilCombine | None = None,
) -> dict[str, Any]:
    """Denoise one scan; see `pipeline.stream.run_file` and `pipeline.stream.Request` for the arguments."""
    request = Request(
        "denoise", sampling, None, True, sigma, relative, keep_samples, batch, outputs, coil_combine
    )
    return run_file(loaded, path, output, settings, request, start)
