"""Octaves of spatial frequency: rings in which the maximum norm of k doubles, for statistics on grids of any size."""

import torch
from torch import Tensor

OCTAVES = 5
"""Rings |k| in (2^-j-1, 2^-j] of the Nyquist frequency, the last one with all that is inside it."""


def octaves(mask: Tensor) -> Tensor:
    """The octave of each bin of a grid (..., H, W), int64 (H, W): 0 is the outermost, `OCTAVES` - 1 the centre."""
    y, x = distances(mask)
    return octave_of(torch.maximum(y, x))


def octave_of(distance: Tensor) -> Tensor:
    """The octave of |k| over the Nyquist frequency, int64 of the same shape."""
    return (-distance.clamp_min(1e-6).log2()).floor().clamp(0, OCTAVES - 1).long()


def distances(mask: Tensor) -> tuple[Tensor, Tensor]:
    """|k| along each axis over the Nyquist frequency, (H, 1) and (1, W), for a grid (..., H, W)."""
    height, width = mask.shape[-2:]
    y = (torch.arange(height, device=mask.device) - height // 2).abs() / (height / 2)
    x = (torch.arange(width, device=mask.device) - width // 2).abs() / (width / 2)
    return y[:, None], x[None]


def ring_means(values: Tensor, where: Tensor, ring: Tensor) -> Tensor:
    """Means over the chosen bins of each octave, float (B, octaves); 0 where there is none.

    Args:
        values: float (B, H, W).
        where: bool (B, H, W).
        ring: int64 (H, W), as `octaves` gives it.
    """
    index = ring.flatten().expand(len(values), -1)
    chosen = where.flatten(1).to(values.dtype)
    zeros = values.new_zeros(len(values), OCTAVES)
    total = zeros.scatter_add(1, index, values.flatten(1) * chosen)
    return total / zeros.scatter_add(1, index, chosen).clamp_min(1)
