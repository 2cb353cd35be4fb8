"""Thermal noise: white, complex Gaussian in k-space.

Everywhere, sigma is the standard deviation of each of the real and imaginary parts.
"""

import torch
from torch import Tensor

# Of |n| for complex Gaussian n with unit sigma per part (Rayleigh): median = sqrt(2 ln 2).
_RAYLEIGH_MEDIAN = 1.1774100225154747


def complex_noise(shape: tuple[int, ...], sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """White complex Gaussian noise, complex64; `sigma`, per part, is broadcastable to `shape`."""
    parts = torch.randn(*shape, 2, generator=generator, device=generator.device)
    return torch.view_as_complex(parts) * sigma


def rms_per_part(kspace: Tensor) -> Tensor:
    """Root mean square of the real and imaginary parts of each slice: (..., H, W) complex to (...) float.

    "Noise 0.2" means sigma = 0.2 of this number of the noise-free slice.
    """
    return (kspace.abs().double().square().mean(dim=(-2, -1)) / 2).sqrt().float()


def estimate_sigma(kspace: Tensor, mask: Tensor) -> Tensor:
    """Noise level from the outermost measured k-space bins, where anatomy is weakest.

    The median magnitude of the measured bins outside the centred ellipse that touches 90 % of each half axis;
    what anatomy is left there makes the estimate too high, never too low, at low noise.

    Args:
        kspace: complex (B, H, W).
        mask: bool, broadcastable to (B, H, W), true where measured.

    Returns:
        float32 (B,), sigma per real and imaginary part; zero where under 16 bins are measured there.
    """
    height, width = kspace.shape[-2:]
    y = (torch.arange(height, device=kspace.device) - height // 2) / (height / 2)
    x = (torch.arange(width, device=kspace.device) - width // 2) / (width / 2)
    outer = (y[:, None].square() + x[None].square()) > 0.9**2
    chosen = mask.expand(kspace.shape) & outer
    sigmas = []
    for values, where in zip(kspace.abs(), chosen, strict=True):
        tail = values[where]
        sigmas.append(tail.median() / _RAYLEIGH_MEDIAN if tail.numel() >= 16 else tail.new_zeros(()))
    return torch.stack(sigmas).float()
