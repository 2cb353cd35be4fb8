"""Cartesian sampling masks: retrospective ones from fastMRI's own generators, and what describes a mask."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.errors import UsageError

MaskType = Literal["random", "equispaced", "magic"]


def column_mask(
    width: int, acceleration: int, center_fraction: float, mask_type: MaskType, seed: str
) -> Tensor:
    """Retrospective column mask, as the fastMRI challenge draws it.

    Args:
        width: number of k-space columns.
        acceleration: nominal acceleration R; about width / R columns are measured (with "magic" the centre's
            come on top).
        center_fraction: share of columns around DC that are always measured.
        mask_type: "random", "equispaced" (exact fraction) or "magic" (`fastmri.data.subsample`).
        seed: usually the file name without its folder; every slice of a file then shares one mask.

    Returns:
        bool (width,), true where measured.

    Raises:
        UsageError: the centre alone holds width / R columns or more.
    """
    if round(width * center_fraction) * acceleration >= width:
        raise UsageError(
            f"center fraction {center_fraction:g} of {width} columns leaves none to draw at acceleration "
            f"{acceleration}: lower one of them"
        )
    # Imported here: fastmri imports torchvision and more, and only this function needs it.
    from fastmri.data import subsample  # noqa: PLC0415

    kinds = {
        "random": subsample.RandomMaskFunc,
        "equispaced": subsample.EquispacedMaskFractionFunc,
        "magic": subsample.MagicMaskFunc,
    }
    function = kinds[mask_type](center_fractions=[center_fraction], accelerations=[acceleration])
    mask, _ = function((1, width, 2), seed=tuple(map(ord, seed)))
    return torch.from_numpy(np.asarray(mask)).reshape(width) > 0


def true_acceleration(mask: Tensor) -> float:
    """All bins over measured bins; infinite when nothing is measured."""
    measured = int(mask.sum())
    return mask.numel() / measured if measured else float("inf")
