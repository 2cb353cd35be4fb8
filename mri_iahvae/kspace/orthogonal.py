"""A learned orthonormal decomposition: plane (Givens) rotations of neighbouring values, step by step.

Rotations are orthogonal whatever their angles, so that there is nothing to project or to penalise while they are
learned (`training.rotations`). The step from s to s/2 values is five layers of rotations of disjoint pairs, as the
lattice of an orthonormal filter bank (Vaidyanathan and Hoang, 1988), with angles of its own for every pair: a wavelet
of ten taps that depends on scale and place.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.kspace.scales import scales
from mri_iahvae.kspace.separable import Separable, cascade

LAYERS = 5
"""Odd: the last layer, as the first, rotates the pairs (2k, 2k + 1), which become one value of the coarser scale."""


class Rotations(Separable):
    """Scale s holds the s/2 details of the step from s to s/2 values along each axis.

    Angles are in radians, of the steps of sides 2, 4 ... N, layer by layer; by default those of Haar wavelets.

    Raises:
        ValueError: another number of angles than `angle_count(size)`.
    """

    def __init__(self, size: int, angles: Sequence[float] = ()) -> None:
        found = torch.tensor(angles, dtype=torch.float64) if angles else haar_angles(size)
        super().__init__(cascade(steps(size, found)))


def angle_count(size: int) -> int:
    """Number of angles of a grid."""
    return LAYERS * (size - 1)


def haar_angles(size: int) -> Tensor:
    """Angles that make averages and differences of pairs, float64: where learning starts."""
    layers = torch.tensor([0.0] * (LAYERS - 1) + [math.pi / 4], dtype=torch.float64)
    return torch.cat([layers.repeat_interleave(side // 2) for side in scales(size)])


def steps(size: int, angles: Tensor) -> list[Tensor]:
    """The steps of sides 2, 4 ... N, each float64 (s, s), as `separable.cascade` takes them; differentiable."""
    if angles.shape != (count := angle_count(size),):
        raise ValueError(f"expected {count} angles of a grid of {size}, found {tuple(angles.shape)}")
    parts = angles.split([LAYERS * side // 2 for side in scales(size)[1:]])
    return [_step(part.unflatten(0, (LAYERS, -1))) for part in parts]


def _step(angles: Tensor) -> Tensor:
    """One step: angles (layers, s/2) to (s, s)."""
    values = torch.eye(2 * angles.shape[1], dtype=angles.dtype)
    for number, layer in enumerate(angles):
        shift = number % 2  # pairs (2k, 2k + 1), then (2k + 1, 2k + 2)
        even, odd = values.roll(-shift, 0).unflatten(0, (-1, 2)).unbind(1)
        c, s = layer.cos()[:, None], layer.sin()[:, None]
        values = torch.stack([c * even + s * odd, c * odd - s * even], dim=1).flatten(0, 1).roll(shift, 0)
    return torch.cat([values[::2], values[1::2]])
