"""Head-like phantoms: the tests' stand-in for real slices."""

import math

import pytest
import torch
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.phase import smooth_phase

SIZE = 64


def _head(generator: torch.Generator) -> Tensor:
    """A smooth-edged head with a few smooth-edged structures in it, (SIZE, SIZE)."""
    axis = torch.linspace(-1, 1, SIZE)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def ellipse(y: float, x: float, height: float, width: float) -> Tensor:
        angle = uniform(0, math.pi)
        dy, dx = axis[:, None] - y, axis[None] - x
        along = (dy * math.cos(angle) + dx * math.sin(angle)) / height
        normal = (dx * math.cos(angle) - dy * math.sin(angle)) / width
        return torch.sigmoid((1 - (along.square() + normal.square()).sqrt()) * 40 * min(height, width))

    head = ellipse(uniform(-0.1, 0.1), uniform(-0.1, 0.1), uniform(0.75, 0.85), uniform(0.55, 0.75))
    image = head * uniform(0.6, 1.0)
    for _ in range(10):
        size = uniform(0.05, 0.3)
        inner = ellipse(uniform(-0.4, 0.4), uniform(-0.4, 0.4), size, size * uniform(0.4, 1.0))
        image = image + head * inner * uniform(-0.3, 0.4)
    return image


@pytest.fixture(scope="session")
def phantoms() -> Tensor:
    """k-space of 24 phantoms with smooth phase, complex64 (24, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    magnitude = torch.stack([_head(generator) for _ in range(24)])
    phase = smooth_phase(len(magnitude), (SIZE, SIZE), generator, strength=0.3, shift=0.5)
    return fft2c(torch.polar(magnitude.abs(), phase))
