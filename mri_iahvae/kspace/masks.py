"""Cartesian sampling masks: retrospective ones from fastMRI's own generators, and what describes a mask."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.errors import UsageError

MaskType = Literal["random", "equispaced", "magic"]

_CENTER_SHARE = 0.32  # of fastMRI's settings: acceleration 4 with 0.08 of the columns, 8 with 0.04


@dataclass(frozen=True)
class ColumnSampling:
    """Retrospective column masks of one kind; see `column_mask` for the fields."""

    acceleration: int
    center_fraction: float
    mask_type: MaskType

    def __str__(self) -> str:
        """In words, such as "random columns 4x, centre 0.08"."""
        return f"{self.mask_type} columns {self.acceleration}x, centre {self.center_fraction:g}"

    def mask(self, width: int, seed: str) -> Tensor:
        """Bool (width,); `column_mask` with these settings."""
        return column_mask(width, self.acceleration, self.center_fraction, self.mask_type, seed)


def column_sampling(
    acceleration: int | None, center_fraction: float | None = None, mask_type: MaskType | None = None
) -> ColumnSampling | None:
    """What a user asks for, completed with defaults.

    Args:
        acceleration: nominal acceleration, at least 2; None measures everything.
        center_fraction: 0.32 / acceleration by default.
        mask_type: "random" by default.

    Returns:
        The sampling, None without an acceleration.

    Raises:
        UsageError: an acceleration or centre that cannot be, or details without an acceleration.
    """
    if acceleration is None:
        if center_fraction is not None or mask_type is not None:
            raise UsageError(
                "--center-fraction and --mask-type describe undersampling: give --acceleration too"
            )
        return None
    if acceleration < 2:
        raise UsageError(f"acceleration {acceleration}: expected at least 2")
    fraction = _CENTER_SHARE / acceleration if center_fraction is None else center_fraction
    if not 0 < fraction < 1:
        raise UsageError(f"center fraction {fraction:g}: expected between 0 and 1")
    return ColumnSampling(acceleration, fraction, mask_type or "random")


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
