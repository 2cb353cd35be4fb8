"""Sampling masks as files hold them: which arrays are one, and what they say."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError


def require_mask(path: str | Path, shape: tuple[int, ...], dtype: np.dtype, size: tuple[int, int]) -> None:
    """Check what a file declares, before its data are read.

    Args:
        path: the file, for the message.
        shape: (width,) for columns or (height, width), behind any number of axes of length 1; also fastMRI's
            (1, ..., width, 1) and (height, width, 1).
        dtype: boolean, integer or floating point.
        size: (height, width) of k-space.

    Raises:
        ScanError: another shape or type.
    """
    if not _fits(shape, size) or dtype.kind not in "biuf":
        raise _expected(path, size, f"shape {_short(shape)}, type {_short(dtype)}")


def to_mask(path: str | Path, values: NDArray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Measured bins.

    Args:
        path: the file, for the message.
        values: 0 and 1 of any number type, of a shape that `require_mask` accepts.
        size: (height, width) of k-space.

    Returns:
        bool (height, width), a copy, true where measured.

    Raises:
        ScanError: another value, NaN among them.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN
        others = values[(values != 0) & (values != 1)]
    if others.size:
        raise _expected(path, size, f"the value {others.flat[0]:g}")
    height, width = size
    rows = values.size // width  # 1 where the mask is one of columns
    return np.broadcast_to(values.reshape(rows, width).astype(bool), (height, width)).copy()


def _fits(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    if shape in {size, size[1:]}:
        return True
    bare = list(shape)
    while bare and bare[0] == 1:
        del bare[0]
    # fastMRI's masks end in an axis for the real and imaginary parts. (n, 1) alone may mean rows: refused.
    if bare and bare[-1] == 1 and len(shape) > 2:
        del bare[-1]
    return tuple(bare) in {size, size[1:]}


def _expected(path: str | Path, size: tuple[int, int], found: str) -> ScanError:
    height, width = size
    return ScanError(
        f"{path}: expected a mask of 0 and 1, shape ({width},) or ({height}, {width}), found {found}; "
        "correct the mask"
    )


def _short(value: object) -> str:
    """A type may list a thousand fields, a shape as many axes."""
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
