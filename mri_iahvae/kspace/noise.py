"""Thermal noise: white, complex Gaussian in k-space.

Everywhere, sigma is the standard deviation of each of the real and imaginary parts.
"""

import torch
from torch import Tensor


def complex_noise(shape: tuple[int, ...], sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """White complex Gaussian noise, complex64; `sigma`, per part, is broadcastable to `shape`."""
    parts = torch.randn(*shape, 2, generator=generator, device=generator.device)
    return torch.view_as_complex(parts) * sigma


def rms(kspace: Tensor) -> Tensor:
    """Root mean square magnitude of each slice: (..., H, W) complex to (...) float.

    "Noise 0.2" means sigma = 0.2 of this number of the noise-free slice, per part: at 0.71 the noise has the
    power of the signal.
    """
    return kspace.abs().double().square().mean(dim=(-2, -1)).sqrt().float()
