"""Smooth phase, as coils, off-resonance and motion give it to real scans; simulated for magnitude images."""

import math

import torch
from torch import Tensor


def smooth_phase(
    count: int, size: tuple[int, int], generator: torch.Generator, strength: float = 1.0, shift: float = 1.5
) -> Tensor:
    """Random smooth phase maps in radians, float32 (count, H, W).

    Each is a global offset, a linear ramp (the k-space peak lies up to `shift` bins off centre) and a smooth field of
    random waves of at most two periods per field of view, of standard deviation `strength`.
    """
    device = generator.device
    y = torch.linspace(-0.5, 0.5, size[0], device=device)
    x = torch.linspace(-0.5, 0.5, size[1], device=device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * 2 - 1

    # Separable cosine waves, amplitudes falling with frequency: a real field with a few free parameters.
    order = torch.arange(5, device=device)
    waves_y = torch.cos(math.pi * order[:, None] * (y[None] + 0.5))  # (5, H)
    waves_x = torch.cos(math.pi * order[:, None] * (x[None] + 0.5))  # (5, W)
    decay = 1.0 / (1.0 + order[:, None] ** 2 + order[None] ** 2)
    decay[0, 0] = 0.0
    mean_square = torch.where(order == 0, 1.0, 0.5)
    decay = decay / (decay.square() * mean_square[:, None] * mean_square[None]).sum().sqrt()
    amplitude = torch.randn(count, 5, 5, generator=generator, device=device) * decay * strength
    field = torch.einsum("bij,ih,jw->bhw", amplitude, waves_y, waves_x)

    ramp = 2 * math.pi * shift * (uniform(count, 1, 1) * y[:, None] + uniform(count, 1, 1) * x)
    return field + ramp + math.pi * uniform(count, 1, 1)
