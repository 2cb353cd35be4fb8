"""Retrospective Cartesian sampling: column masks from fastMRI's own generators."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError

MaskType = Literal["random", "equispaced", "magic"]

_CENTER_FRACTION = 0.32  # times 1 / acceleration, as fastMRI has it: 0.08 at 4, 0.04 at 8


@dataclass(frozen=True)
class ColumnSampling:
    """Retrospective column masks of one kind; see `column_mask` for the fields."""

    acceleration: int
    center_fraction: float
    mask_type: MaskType

    def __str__(self) -> str:
        """In words, such as "random columns 4x, centre 0.08"."""
        return f"{self.mask_type} columns {self.acceleration}x, centre {self.center_fraction:g}"

    def mask(self, width: int, seed: str) -> NDArray[np.bool_]:
        """bool (width,); `column_mask` with these settings."""
        return column_mask(width, self.acceleration, self.center_fraction, self.mask_type, seed)


def column_sampling(
    acceleration: int | None, center_fraction: float | None = None, mask_type: MaskType | None = None
) -> ColumnSampling | None:
    """What a user asks for, completed with defaults: centre 0.32 / acceleration, random; None without an acceleration.

    Raises:
        UsageError: an acceleration or centre that cannot be, or either of the others without an acceleration.
    """
    if acceleration is None:
        if center_fraction is not None or mask_type is not None:
            raise UsageError(
                "--center-fraction and --mask-type describe undersampling: give --acceleration too"
            )
        return None
    if acceleration < 2:
        raise UsageError(f"acceleration {acceleration}: expected at least 2")
    fraction = _CENTER_FRACTION / acceleration if center_fraction is None else center_fraction
    if not 0 < fraction < 1:
        raise UsageError(f"center fraction {fraction:g}: expected between 0 and 1")
    return ColumnSampling(acceleration, fraction, mask_type or "random")


def column_mask(
    width: int, acceleration: int, center_fraction: float, mask_type: MaskType, seed: str
) -> NDArray[np.bool_]:
    """Retrospective column mask, as the fastMRI challenge draws it.

    Args:
        width: number of k-space columns.
        acceleration: nominal acceleration R; about width / R columns are measured (with "magic" the centre's
            come on top).
        center_fraction: fraction of the columns, around DC, that is always measured.
        mask_type: "random", "equispaced" (exact fraction) or "magic" (`fastmri.data.subsample`).
        seed: usually the file name without its folder; every slice of a file then has the same mask.

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
    # Imported here: fastmri imports torch, torchvision and more, and only this function needs it.
    from fastmri.data import subsample  # noqa: PLC0415

    kinds = {
        "random": subsample.RandomMaskFunc,
        "equispaced": subsample.EquispacedMaskFractionFunc,
        "magic": subsample.MagicMaskFunc,
    }
    function = kinds[mask_type](center_fractions=[center_fraction], accelerations=[acceleration])
    mask, _ = function((1, width, 2), seed=tuple(map(ord, seed)))
    return np.asarray(mask).reshape(width) > 0


def true_acceleration(mask: NDArray[np.bool_]) -> float | None:
    """All bins over measured bins; None where nothing is measured."""
    return float(mask.size / mask.sum()) if mask.any() else None
