"""Random measurements for the guide: masks, noise and phase, as batched tensor code on the training device.

Every slice gets a task of its own: everything with noise, a centred block, columns or rows (random, equispaced, partial
Fourier), or two-dimensional random bins; undersampling with noise too.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.training.shard import Shard

_NOISY = 0.28  # fraction of the slices that are fully measured, with noise
_BLOCK = 0.2  # ... of which a centred block is measured
_LINES = 0.38  # ... columns or rows; the rest: two-dimensional random bins
_ALSO_NOISY = 0.2  # fraction of the undersampled slices that have noise too
_NOISE = (0.03, 1.5)  # of the slice's RMS, per part
_WEAK = 0.015  # largest noise whose level the guide is not given: it is given 0
_ACCELERATION = (2.0, 12.0)
_CENTRE = 0.32  # centre fraction times acceleration, as fastMRI pairs them: 4 with 0.08, 8 with 0.04
_NO_CENTRE = 0.08  # fraction of line masks without a fully measured centre
_PARTIAL = 0.08  # fraction of line masks of which one side is missing (partial Fourier)
_ROWS = 0.15  # fraction of line masks that are rows
_PHASE = 1.7  # largest standard deviation of the smooth phase, in radians
_JUMPS = 0.15  # fraction of the slices with phase jumps between tissues
_JUMP = 3.0  # largest jump, in radians
_RESIZED = 0.25  # fraction of the batches of another size


class Measured(NamedTuple):
    """A batch of measurements and the truth.

    Attributes:
        kspace: complex64 (B, H, W), noisy; values at unmeasured bins are no measurement.
        mask: bool (B, H, W).
        sigma: float (B,), noise per part that the network is given; 0 where it is weak.
        truth: complex64 (B, H, W), free of noise.
    """

    kspace: Tensor
    mask: Tensor
    sigma: Tensor
    truth: Tensor


def random_field_of_view(image: Tensor, generator: torch.Generator) -> Tensor:
    """Now and then another size for the batch (B, H, W): borders are cut or air is added, sides need not be equal."""
    drawn = torch.rand(3, generator=generator, device=generator.device).tolist()
    if drawn[0] >= _RESIZED:
        return image
    sides = [round(side * (0.75 + 0.5 * part)) for side, part in zip(image.shape[1:], drawn[1:], strict=True)]
    for axis, side in ((1, sides[0]), (2, sides[1])):
        missing = side - image.shape[axis]
        before = (side // 2) - (image.shape[axis] // 2)  # the centre stays the centre
        pads = [before, missing - before]
        image = F.pad(image, pads if axis == 2 else [0, 0, *pads])
    return image


def random_measurements(image: Tensor, generator: torch.Generator, shard: Shard | None = None) -> Measured:
    """Give every slice, complex or float (B, H, W) and free of noise, a phase, a mask and noise."""
    height, width = image.shape[1:]
    shard = shard or Shard(len(image))
    count, device = shard.total, generator.device
    uniform = partial(shard.uniform, generator=generator)
    phase = random_phase(image, generator, shard)
    truth = fft2c(image * torch.polar(torch.ones_like(phase), phase))
    kind = uniform(0, 1)
    mask = torch.ones(len(image), height, width, dtype=torch.bool, device=device)
    # Masks take as many numbers as they need: each slice has a generator of its own.
    seeds = shard.of(torch.randint(2**62, (count,), generator=generator, device=device))
    for number, (value, seed) in enumerate(zip(kind.tolist(), seeds.tolist(), strict=True)):
        draw = _Draw(torch.Generator(device).manual_seed(seed), height, width)
        if value < _NOISY:
            continue
        if value < _NOISY + _BLOCK:
            mask[number] = draw.block()
        elif value < _NOISY + _BLOCK + _LINES:
            mask[number] = draw.lines()
        else:
            mask[number] = draw.plane()
    ratio = _NOISE[0] * (_NOISE[1] / _NOISE[0]) ** uniform(0, 1)
    noisy = (kind < _NOISY) | (uniform(0, 1) < _ALSO_NOISY)
    power = rms(truth)
    sigma = power * torch.where(noisy, ratio, uniform(0, _WEAK))
    kspace = truth + shard.of(complex_noise((count, height, width), 1.0, generator)) * sigma[:, None, None]
    return Measured(kspace, mask, torch.where(noisy, sigma, 0), truth)


def random_phase(image: Tensor, generator: torch.Generator, shard: Shard) -> Tensor:
    """Smooth phase for every slice (B, H, W), now and then with a jump between tissues: float (B, H, W), radians."""

    def uniform(low: float, high: float) -> Tensor:
        return shard.uniform(low, high, generator)[:, None, None]

    strength, chance, jump = uniform(0, _PHASE), uniform(0, 1), uniform(0.5, _JUMP)
    smooth = shard.of(smooth_phase(shard.total, (image.shape[1], image.shape[2]), generator))
    level = image.abs() / image.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    low = uniform(0.1, 0.6)
    tissue = (level > low) & (level < low + uniform(0.15, 0.5))
    return smooth * strength + tissue * (jump * (chance < _JUMPS)) + uniform(-math.pi, math.pi)


class _Draw:
    """Masks of one grid, bool (H, W)."""

    def __init__(self, generator: torch.Generator, height: int, width: int) -> None:
        self.generator, self.height, self.width = generator, height, width

    def uniform(self, low: float, high: float) -> float:
        drawn = torch.rand((), generator=self.generator, device=self.generator.device)
        return float(drawn) * (high - low) + low

    def log_uniform(self, low: float, high: float) -> float:
        return low * (high / low) ** self.uniform(0, 1)

    def block(self) -> Tensor:
        """A centred square of a power of two, or of any side."""
        largest = min(self.height, self.width) // 2
        side = self.log_uniform(4, 1.4 * largest)
        if self.uniform(0, 1) < 0.7:
            side = 2 ** min(round(math.log2(side)), int(math.log2(largest)))
        side = int(side)
        mask = torch.zeros(self.height, self.width, dtype=torch.bool, device=self.generator.device)
        top, left = self.height // 2 - side // 2, self.width // 2 - side // 2
        mask[top : top + side, left : left + side] = True
        return mask

    def lines(self) -> Tensor:
        rows = self.uniform(0, 1) < _ROWS
        count = self.height if rows else self.width
        where = torch.arange(count, device=self.generator.device)
        acceleration = self.log_uniform(*_ACCELERATION)
        centre = _CENTRE / acceleration * count * self.uniform(0.6, 1.5)
        centre = 0 if self.uniform(0, 1) < _NO_CENTRE else max(1, round(centre))
        central = (where >= count // 2 - centre // 2) & (where < count // 2 - centre // 2 + centre)
        rate = max(0.0, (count / acceleration - centre) / (count - centre))
        if self.uniform(0, 1) < 0.5:
            drawn = torch.rand(count, generator=self.generator, device=self.generator.device) < rate
        else:
            step = 1 / max(rate, 1 / count)
            places = torch.floor(where * step + self.uniform(0, step)).long()
            drawn = torch.isin(where, places)
        mask = central | drawn
        if self.uniform(0, 1) < _PARTIAL:
            mask &= where >= int(count * self.uniform(0.1, 0.4))
        if not bool(mask.any()):
            mask[count // 2] = True
        return (mask[:, None] if rows else mask[None]).expand(self.height, self.width)

    def plane(self) -> Tensor:
        """Random bins, denser towards a measured centre."""
        acceleration, spread = self.log_uniform(*_ACCELERATION), self.log_uniform(0.12, 0.5)
        y = (torch.arange(self.height, device=self.generator.device) - self.height // 2) / self.height
        x = (torch.arange(self.width, device=self.generator.device) - self.width // 2) / self.width
        square = y[:, None].square() + x[None].square()
        density = torch.exp(-square / (2 * spread**2))
        # Saturation at the centre would lower the fraction: a few rounds restore it.
        factor = 1 / acceleration / density.mean()
        for _ in range(6):
            factor = factor / (factor * density).clamp(max=1).mean() / acceleration
        drawn = torch.rand(self.height, self.width, generator=self.generator, device=self.generator.device)
        return (drawn < factor * density) | (square < self.uniform(0.02, 0.07) ** 2)
