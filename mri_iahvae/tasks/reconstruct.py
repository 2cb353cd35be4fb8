"""Reconstruct and denoise k-space, arrays in and out; for files see `pipeline.stream.run_file`."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError, warn
from mri_iahvae.inference.settings import inference_settings
from mri_iahvae.kspace.scales import parse_scale
from mri_iahvae.pipeline.arrays import as_numpy, like
from mri_iahvae.pipeline.devices import compile_networks, find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.request import CoilCombine
from mri_iahvae.pipeline.volume import reconstruct_volume

_DENOISING = {"data_consistency": "soft"}
"""Settings by name that denoising has as defaults."""


class Reconstructor:
    """A model that is loaded once, and reconstructs and denoises arrays (Python API).

    No gradients flow through it.

    Args:
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        **settings: as in `mri_iahvae.reconstruct`.

    Attributes:
        loaded: the model, where it is and what came with it.
        settings: how it reconstructs; `denoise` has soft data consistency where none was asked for.

    Raises:
        UsageError: a setting, a device or a checkpoint that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | Path = "small",
        device: str = "auto",
        **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
    ) -> None:
        self._given = settings
        self.settings = inference_settings(**settings)
        self.loaded = LoadedModel.load(checkpoint, find_device(device))
        if self.settings.compile:
            compile_networks(self.loaded.model)

    def reconstruct(
        self,
        kspace: NDArray[np.complexfloating] | Tensor,
        mask: NDArray[np.bool_] | Tensor | None = None,
        *,
        up_to: str | int | None = None,
        noise_sigma: NDArray[np.floating] | Tensor | float = 0.0,
        coils: bool | None = None,
        coil_combine: CoilCombine | None = None,
        sensitivities: NDArray[np.complexfloating] | Tensor | None = None,
        keep_coil_kspace: bool = False,
        keep_sensitivities: bool = False,
        keep_samples: bool = False,
        batch: int | None = None,
    ) -> Reconstruction:
        """Reconstruct a slice or a volume: arguments, result and errors of `mri_iahvae.reconstruct`."""
        loaded, values = self.loaded, as_numpy(kspace)
        several = values.ndim == 4 if coils is None else coils
        alone = values.ndim == 2 + several
        values = values[None] if alone else values
        if several and values.ndim == 4 and values.shape[1] == 1:
            several, values = False, values[:, 0]
        how: dict[str, Any] = {
            "guide": loaded.guide,
            "domain": loaded.domain,
            "up_to": None if up_to is None else parse_scale(up_to, loaded.model.size),
            "noise_sigma": as_numpy(noise_sigma),
            "keep_samples": keep_samples,
            "batch": batch,
        }
        what = loaded.model, values, None if mask is None else as_numpy(mask), self.settings
        if several:
            maps = None if sensitivities is None else as_numpy(sensitivities)
            how |= {"coil_combine": coil_combine or "rss", "sensitivities": maps}
            how |= {"keep_kspace": keep_coil_kspace, "keep_sensitivities": keep_sensitivities}
            result = reconstruct_coils(*what, **how)
        else:
            of_coils = coil_combine, sensitivities, keep_coil_kspace or None, keep_sensitivities or None
            if any(option is not None for option in of_coils):
                raise UsageError(
                    "coil_combine, sensitivities, keep_coil_kspace and keep_sensitivities: kspace is of a single "
                    "coil; leave them out"
                )
            result = reconstruct_volume(*what, **how, coarse=loaded.coarse)
        result = replace(
            result,
            warnings=(*loaded.warnings, *result.warnings),
            model=loaded.name,
            interval_factor=None if loaded.intervals is None else loaded.intervals.factor,
        )
        warn(result.warnings)
        return _as_given(result, kspace, alone=alone)

    def denoise(
        self,
        kspace: NDArray[np.complexfloating] | Tensor,
        noise_sigma: NDArray[np.floating] | Tensor | float,
        mask: NDArray[np.bool_] | Tensor | None = None,
        **options: Any,  # noqa: ANN401 - of `reconstruct`
    ) -> Reconstruction:
        """Denoise a slice or a volume as `mri_iahvae.denoise` does; options of `reconstruct`."""
        soft = copy(self)
        soft.settings = inference_settings(**{**_DENOISING, **self._given})
        return soft.reconstruct(kspace, mask, noise_sigma=noise_sigma, **options)


def reconstruct(
    kspace: NDArray[np.complexfloating] | Tensor,
    mask: NDArray[np.bool_] | Tensor | None = None,
    *,
    up_to: str | int | None = None,
    noise_sigma: NDArray[np.floating] | Tensor | float = 0.0,
    coils: bool | None = None,
    coil_combine: CoilCombine | None = None,
    sensitivities: NDArray[np.complexfloating] | Tensor | None = None,
    keep_coil_kspace: bool = False,
    keep_sensitivities: bool = False,
    keep_samples: bool = False,
    batch: int | None = None,
    checkpoint: str | Path = "small",
    device: str = "auto",
    **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
) -> Reconstruction:
    """Reconstruct a slice or a volume from its measured k-space bins (Python API).

    The model is loaded each time; a `Reconstructor` keeps it.

    Args:
        kspace: complex (H, W), (slices, H, W) or (slices, coils, H, W), NumPy or PyTorch, any size, centred (DC at
            H // 2, W // 2), any units, without readout oversampling; values at unmeasured bins are ignored. The model
            completes the central bins of its grid (128 x 128 for the shipped one), its guide those beyond. Of several
            coils the guide completes all (`pipeline.multicoil`).
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when everything is.
        up_to: "8x8", or 8: only the measured bins of the central 8 x 8 block are used; all others count as
            unmeasured and come from the prior. None uses every measured bin.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`; one
            number or (slices,).
        coils: whether the axis before (H, W) is of coils; None: where there are four axes. A single coil is
            reconstructed as without that axis.
        coil_combine: of several coils, "rss" (default) or "sensitivity" (`pipeline.multicoil.reconstruct_coils`).
        sensitivities: of several coils, complex (coils, H, W) or (slices, coils, H, W); None takes ESPIRiT's.
        keep_coil_kspace: of several coils, return the completed k-space of each.
        keep_sensitivities: of several coils, return the sensitivities that were used.
        keep_samples: return every posterior sample, not only their mean and standard deviation.
        batch: slices at a time, halved when memory runs out; None: what suits the device.
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        **settings: `quality="fast"`, "default" or "best", and fields of `InferenceSettings` by name:
            `method="hybrid", steps=10, samples=8` ...

    Returns:
        The complex image in the units of the input, its k-space, and what was measured and completed. Its warnings are
        raised as `IahvaeWarning` besides.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
        IahvaeError: out of memory with one slice at a time.
    """
    return Reconstructor(checkpoint, device, **settings).reconstruct(
        kspace,
        mask,
        up_to=up_to,
        noise_sigma=noise_sigma,
        coils=coils,
        coil_combine=coil_combine,
        sensitivities=sensitivities,
        keep_coil_kspace=keep_coil_kspace,
        keep_sensitivities=keep_sensitivities,
        keep_samples=keep_samples,
        batch=batch,
    )


def denoise(
    kspace: NDArray[np.complexfloating] | Tensor,
    noise_sigma: NDArray[np.floating] | Tensor | float,
    mask: NDArray[np.bool_] | Tensor | None = None,
    **options: Any,  # noqa: ANN401 - of `reconstruct`
) -> Reconstruction:
    """Denoise a slice or a volume (Python API): every measured bin is uncertain by the noise level.

    Args:
        kspace: as in `reconstruct`; result and errors are those of it, too.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`
            (equally those of the image: the FFT is unitary); one number or (slices,).
        mask: as in `reconstruct`.
        **options: as in `reconstruct`; `data_consistency` is "soft" by default: a measured bin becomes its
            posterior mean.
    """
    return reconstruct(kspace, mask, noise_sigma=noise_sigma, **{**_DENOISING, **options})


def _as_given(result: Reconstruction, kspace: object, *, alone: bool) -> Reconstruction:
    """Tensors where `kspace` is one, and without the axis of slices where that is alone."""
    arrays = {name: like(one, kspace) for name, one in vars(result).items() if isinstance(one, np.ndarray)}
    if alone:
        arrays |= {name: one[0] for name, one in arrays.items() if name != "steps"}
    return replace(result, **arrays)
