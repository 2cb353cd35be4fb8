"""Symmetries of a measurement: turned in phase, or flipped with its mask, it is as good a measurement.

An estimate that is averaged over copies has errors that differ from copy to copy taken out of it (geometric
self-ensemble, Lim et al., arXiv 1707.02921).
"""

import cmath
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Symmetry:
    """Flips of the image, and a turn of its phase.

    Attributes:
        axes: of k-space and image that are flipped, counted from the last.
        angle: in radians.
    """

    axes: tuple[int, ...] = ()
    angle: float = 0.0

    def apply(self, kspace: Tensor) -> Tensor:
        """K-space of the flipped and turned image, complex (..., H, W)."""
        return self.flip(kspace) * cmath.exp(1j * self.angle)

    def undo(self, kspace: Tensor) -> Tensor:
        """The inverse of `apply`."""
        return self.flip(kspace * cmath.exp(-1j * self.angle))

    def flip(self, bins: Tensor) -> Tensor:
        """Bins (..., H, W), or a mask, with k and -k exchanged along the axes."""
        # DC is at n // 2: where n is even, reversal moves it by one bin.
        shifts = [1 - bins.shape[axis] % 2 for axis in self.axes]
        return torch.roll(bins.flip(self.axes), shifts, self.axes) if self.axes else bins


_FLIPS: list[tuple[int, ...]] = [(), (-1,), (-2,), (-2, -1)]
SYMMETRIES = tuple(Symmetry(axes, 0.75 * math.pi * number) for number, axes in enumerate(2 * _FLIPS))
"""Eight copies that differ in flips, phase or both, the measurement itself first."""
