"""Retrospective Cartesian sampling: masks of lines from fastMRI's own generators, Poisson discs from sigpy's."""

import hashlib
from dataclasses import dataclass
from operator import index
from typing import Literal, SupportsIndex, get_args

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError

LineType = Literal["random", "equispaced", "magic"]
MaskType = Literal["random", "equispaced", "magic", "poisson"]
MaskAxis = Literal["columns", "rows"]

_CENTER_FRACTION = 0.32  # times 1 / acceleration, as fastMRI has it: 0.08 at 4, 0.04 at 8


@dataclass(frozen=True)
class DrawnMask:
    """Retrospective masks of one kind.

    Attributes:
        acceleration: nominal.
        center_fraction: of each side that is drawn along, around DC: always measured.
        mask_type: of lines, see `column_mask`; or "poisson", single bins.
        axis: which lines.
        seed: None takes the name of the file, as the fastMRI challenge does.
    """

    acceleration: int
    center_fraction: float
    mask_type: MaskType
    axis: MaskAxis = "columns"
    seed: int | None = None

    def __str__(self) -> str:
        """In words, such as "random columns 4x, centre 0.08"."""
        kind = "Poisson disc" if self.mask_type == "poisson" else f"{self.mask_type} {self.axis}"
        return f"{kind} {self.acceleration}x, centre {self.center_fraction:g}"

    def mask(self, size: tuple[int, int], name: str) -> NDArray[np.bool_]:
        """True where measured, bool (width,) for columns, else (height, width); `name` is the file's.

        Raises:
            UsageError: a mask that cannot be, or sigpy, which draws Poisson discs, is missing.
        """
        seed = name if self.seed is None else self.seed
        if self.mask_type == "poisson":
            return _poisson_disc(size, self.acceleration, self.center_fraction, seed)
        along = size[1 if self.axis == "columns" else 0]
        lines = column_mask(along, self.acceleration, self.center_fraction, self.mask_type, seed)
        return lines if self.axis == "columns" else np.repeat(lines[:, None], size[1], axis=1)


def drawn_mask(
    acceleration: int | None,
    center_fraction: float | None = None,
    mask_type: MaskType | None = None,
    axis: MaskAxis | None = None,
    seed: int | None = None,
) -> DrawnMask | None:
    """What a user asks for, completed with defaults: centre 0.32 / acceleration, random columns; or None for nothing.

    Raises:
        UsageError: an acceleration or centre that cannot be, or any of the others without an acceleration.
    """
    if acceleration is None:
        if (center_fraction, mask_type, axis, seed) != (None, None, None, None):
            options = "--center-fraction, --mask-type, --mask-axis and --mask-seed"
            raise UsageError(f"{options} describe undersampling: give --acceleration too")
        return None
    if acceleration < 2:
        raise UsageError(f"acceleration {acceleration}: expected at least 2")
    fraction = _CENTER_FRACTION / acceleration if center_fraction is None else center_fraction
    if not 0 < fraction < 1:
        raise UsageError(f"center fraction {fraction:g}: expected between 0 and 1")
    if mask_type == "poisson" and axis is not None:
        raise UsageError("--mask-axis: a Poisson disc has no lines; leave it out")
    return DrawnMask(acceleration, fraction, mask_type or "random", axis or "columns", seed)


def draw_mask(
    mask_type: MaskType,
    shape: tuple[int, ...],
    acceleration: int,
    center_fraction: float | None = None,
    *,
    axis: MaskAxis | None = None,
    seed: int | str = 0,
) -> NDArray[np.bool_]:
    """Draw a mask by name (Python API), the same as the command line's.

    Args:
        mask_type: "random", "equispaced" or "magic" lines, as fastMRI draws them, or "poisson" (needs sigpy).
        shape: (..., H, W), of k-space.
        acceleration: nominal, at least 2.
        center_fraction: of each side that is drawn along, around DC, always measured; 0.32 / acceleration by default.
        axis: "columns" (default) or "rows"; not of a Poisson disc.
        seed: a number, as `--mask-seed`, or a file's name without its folder, as without that option.

    Returns:
        bool, true where measured: (W,) for columns, else (H, W).

    Raises:
        UsageError: a mask that cannot be, or sigpy, which draws Poisson discs, is missing.
    """
    for given, known in ((mask_type, get_args(MaskType)), (axis or "columns", get_args(MaskAxis))):
        if given not in known:
            raise UsageError(f"mask {given}: expected one of {', '.join(known)}")
    try:
        height, width = (index(side) for side in shape[-2:])
    except (TypeError, ValueError):
        raise UsageError(f"shape {shape}: expected (..., H, W)") from None
    whole = isinstance(acceleration, SupportsIndex) and isinstance(seed, str | SupportsIndex)
    if not whole or min(height, width) < 1 or not (isinstance(seed, str) or 0 <= index(seed) < 2**32):
        raise UsageError(
            f"shape {shape}, acceleration {acceleration}, seed {seed}: expected positive sides, a whole acceleration, "
            "and a seed from 0 to 2^32 - 1 or the name of a file"
        )
    number = None if isinstance(seed, str) else index(seed)
    drawn = drawn_mask(index(acceleration), center_fraction, mask_type, axis, number)
    assert drawn is not None  # noqa: S101 - as there is an acceleration
    mask = drawn.mask((height, width), str(seed))
    if not mask.any():
        raise UsageError(f"{drawn}: measures nothing of {height}x{width} bins; take a lower acceleration")
    return mask


def column_mask(
    width: int, acceleration: int, center_fraction: float, mask_type: LineType, seed: str | int
) -> NDArray[np.bool_]:
    """Retrospective column mask, as the fastMRI challenge draws it: bool (width,), true where measured.

    About width / acceleration columns are measured; with "magic" the centre's come on top. "equispaced" has the exact
    fraction (`fastmri.data.subsample`). The seed of the challenge is the file name without its folder: every slice of a
    file then has the same mask.

    Raises:
        UsageError: the centre alone holds width / R columns or more.
    """
    if round(width * center_fraction) * acceleration >= width:
        centre = f"center fraction {center_fraction:g} of {width} lines"
        raise UsageError(f"{centre} leaves none to draw at acceleration {acceleration}: lower one of them")
    # Imported here: fastmri imports torch, torchvision and more, and only this function needs it.
    from fastmri.data import subsample  # noqa: PLC0415

    kinds = {
        "random": subsample.RandomMaskFunc,
        "equispaced": subsample.EquispacedMaskFractionFunc,
        "magic": subsample.MagicMaskFunc,
    }
    function = kinds[mask_type](center_fractions=[center_fraction], accelerations=[acceleration])
    mask, _ = function((1, width, 2), seed=tuple(map(ord, seed)) if isinstance(seed, str) else seed)
    return np.asarray(mask).reshape(width) > 0


def _poisson_disc(
    size: tuple[int, int], acceleration: int, center_fraction: float, seed: str | int
) -> NDArray[np.bool_]:
    """A variable-density Poisson disc, bool (height, width), as sigpy draws it, less the corners of k-space."""
    try:
        from sigpy.mri import poisson  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise UsageError("--mask-type poisson needs sigpy: pip install 'mri-iahvae[poisson]'") from None
    if isinstance(seed, str):
        seed = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    calibration = tuple(round(side * center_fraction) for side in size)
    try:
        return np.asarray(poisson(size, acceleration, calibration, dtype=bool, seed=seed))
    except (ValueError, ZeroDivisionError):
        disc = f"no Poisson disc of {size[0]}x{size[1]} bins at acceleration {acceleration}"
        centre = f"with the central {center_fraction:g} of each side"
        raise UsageError(f"{disc} {centre}: change one of them") from None


def true_acceleration(mask: NDArray[np.bool_]) -> float | None:
    """All bins over measured bins; None where nothing is measured."""
    return float(mask.size / mask.sum()) if mask.any() else None
