"""Shifts of the image by whole pixels: phase ramps in k-space, which commute with every mask.

The result of a network depends a little on where the object lies. Averages over shifts, shifted back, do
not: cycle spinning (Coifman and Donoho, Translation-invariant de-noising, 1995).
"""

import math

import torch
from torch import Tensor

SHIFTS = ((0, 0), (1, 2), (2, 1), (3, 3), (-1, 1), (1, -1), (0, -2), (-2, 0))
"""(rows, columns) in pixels, the unshifted slice first; different ones within any 4 x 4 pixels."""


def shift_ramps(count: int, size: int, device: torch.device | None = None) -> Tensor:
    """What k-space is multiplied by to shift the image by the first `count` of `SHIFTS`, cyclically.

    Args:
        count: 1 to 8.
        size: side N of the grid.
        device: of the result.

    Returns:
        complex64 (count, N, N), of modulus 1, 1 at DC; the conjugate shifts back.
    """
    frequency = (torch.arange(size, device=device) - size // 2) * (-2 * math.pi / size)
    rows, columns = torch.tensor(SHIFTS[:count], device=device).T[:, :, None]
    angle = (rows * frequency)[:, :, None] + (columns * frequency)[:, None, :]
    return torch.polar(torch.ones_like(angle), angle)
