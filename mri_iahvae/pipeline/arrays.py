"""What callers hand to the Python API, checked and as tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError

LOUDEST = 1e6
"""Noise over a slice's largest bin: nothing is left of the signal then, and squares stay finite."""


def as_numpy(values: Any) -> NDArray[Any]:  # noqa: ANN401 - what NumPy takes, or a tensor
    """As an array; a tensor of any device without its gradients.

    Raises:
        UsageError: a tensor of a type that NumPy does not have.
    """
    try:
        return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)
    except TypeError:
        raise UsageError(f"{values.dtype}: expected a type that NumPy has, such as complex64") from None


def like(array: NDArray[Any], given: object) -> Any:  # noqa: ANN401 - an array or a tensor
    """The array, as a tensor on the device of `given` where that is a tensor."""
    return torch.from_numpy(array).to(given.device) if isinstance(given, Tensor) else array


def power_of_two(kspace: Tensor) -> Tensor:
    """The power of two below each slice's largest bin, which changes no digit; 1 where all is zero.

    Sums of squares of scanner units could leave float32's range.

    Args:
        kspace: complex (slices, ...).

    Returns:
        float32 (slices,).
    """
    largest = kspace.abs().flatten(1).amax(dim=1)
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def checked_arrays(
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    noise_sigma: NDArray[np.floating] | float,
    *,
    coils: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Check a volume.

    Args:
        kspace: complex (slices, H, W); with coils (slices, coils, H, W). Values at unmeasured bins may be anything.
        mask: bool (W,), (H, W) or (slices, H, W); None when everything is measured.
        noise_sigma: one number or (slices,).
        coils: whether there is an axis for coils.

    Returns:
        k-space complex64, zero where not measured; mask bool (slices, H, W); sigma float32 (slices,).

    Raises:
        UsageError: an array of the wrong shape or type, or values that are not finite.
    """
    values = np.asarray(kspace)
    axes = "slices, coils, H, W" if coils else "slices, H, W"
    if values.ndim != axes.count(",") + 1 or not np.iscomplexobj(values) or min(values.shape) < 1:
        raise UsageError(f"kspace: expected complex ({axes}), got {values.dtype} {values.shape}")
    size = values.shape[0], *values.shape[-2:]
    given = np.ones(size[1:], bool) if mask is None else np.asarray(mask)
    if not np.isin(given, (0, 1)).all():
        raise UsageError("mask: expected true and false, or 1 and 0, got other values")
    measured = given.astype(bool)
    with np.errstate(over="ignore"):  # infinity is refused below
        sigma = np.asarray(noise_sigma, np.float32)
    try:
        measured = np.broadcast_to(measured, size)
        sigma = np.broadcast_to(sigma, values.shape[:1])
    except ValueError:
        raise UsageError(
            f"mask and noise_sigma: expected shapes that fit k-space {values.shape}, "
            f"got {measured.shape} and {sigma.shape}"
        ) from None
    with np.errstate(over="ignore"):  # infinity is refused in the next line
        values = np.where(measured[:, None] if coils else measured, values, 0).astype(np.complex64)
    if not np.isfinite(values).all() or not np.isfinite(sigma).all() or (sigma < 0).any():
        raise UsageError("kspace and noise_sigma must be finite, and noise_sigma not negative")
    return torch.from_numpy(values), torch.tensor(measured), torch.tensor(sigma)
