"""Centre crops and zero-padding of NumPy arrays, for code that must not import torch.

K-space keeps DC at n // 2 of each axis: `centre_block` and `recentre`, which agree with `kspace.bands` for tensors.
Images are cropped from (n - m) // 2, as fastMRI does: `crop_image`. The two differ where n is even and m is odd.
"""

import numpy as np
from numpy.typing import NDArray


def centre_block(n: int, m: int) -> slice:
    """The m bins around DC of an axis of n bins; all n where m is larger."""
    m = min(m, n)
    start = n // 2 - m // 2
    return slice(start, start + m)


def recentre(kspace: NDArray, height: int, width: int) -> NDArray:
    """K-space (..., H, W) as (..., height, width): each axis cropped or zero-padded around DC."""
    (rows, columns), size = kspace.shape[-2:], (height, width)
    kept = kspace[..., centre_block(rows, height), centre_block(columns, width)]
    if kept.shape[-2:] == size:
        return kept
    out = np.zeros((*kspace.shape[:-2], *size), kspace.dtype)
    out[..., centre_block(height, rows), centre_block(width, columns)] = kept
    return out


def crop_image(images: NDArray, height: int, width: int) -> NDArray:
    """The centre (..., height, width) of images (..., H, W) that are at least as large."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]
