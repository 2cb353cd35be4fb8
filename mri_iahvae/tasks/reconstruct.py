"""Reconstruct undersampled k-space, arrays in and out; for files see `pipeline.stream.run_file`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import inference_settings
from mri_iahvae.kspace.scales import parse_scale
from mri_iahvae.pipeline.devices import compile_networks, find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import Reconstruction, reconstruct_volume


def reconstruct(
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None = None,
    *,
    up_to: str | int | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int | None = None,
    keep_samples: bool = False,
    **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
) -> Reconstruction:
    """Reconstruct a volume from its measured k-space bins (Python API).

    Args:
        kspace: complex (slices, H, W), any size, centred (DC at H // 2, W // 2), any units, without readout
            oversampling; values at unmeasured bins are ignored. The model completes the central bins of its grid
            (128 x 128 for the shipped one), its guide those beyond.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when everything is.
        up_to: "8x8", or 8: only the measured bins of the central 8 x 8 block are used; all others count as
            unmeasured and come from the prior. None uses every measured bin.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`; one
            number or (slices,).
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch: slices at a time, halved when memory runs out; None: what suits the device.
        keep_samples: return every posterior sample, not only their mean and standard deviation.
        **settings: `quality="fast"`, "default" or "best", and fields of `InferenceSettings` by name:
            `method="hybrid", steps=10, samples=8` ...

    Returns:
        The complex image in the units of the input, its k-space, and what was measured and completed.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    chosen = inference_settings(**settings)
    loaded = LoadedModel.load(checkpoint, find_device(device))
    if chosen.compile:
        compile_networks(loaded.model)
    limit = None if up_to is None else parse_scale(up_to, loaded.model.size)
    result = reconstruct_volume(
        loaded.model,
        kspace,
        mask,
        chosen,
        guide=loaded.guide,
        coarse=loaded.coarse,
        domain=loaded.domain,
        up_to=limit,
        noise_sigma=noise_sigma,
        keep_samples=keep_samples,
        batch=batch,
    )
    return replace(result, warnings=(*loaded.warnings, *result.warnings))
