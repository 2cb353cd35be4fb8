"""Augmentation of complex slices as batched tensor code on the training device."""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.slices import CachedSlices

_ZOOM = (0.8, 1.1)  # below 1 the head shrinks; far above 1 the outer bins would hold nothing
_ASPECT = 1.12
_SHIFT = 0.08  # of the field of view
_PHASE = 0.5  # radians
_NOISE = 0.007  # per part, of the slice's RMS


def augmented(
    slices: CachedSlices, count: int, generator: torch.Generator, size: int | None = None
) -> Iterator[Tensor]:
    """So many slices, drawn at random and augmented, in batches on the generator's device: complex64 (B, n, n).

    They are augmented at their own resolution, or at a coarser one of `size` x `size` bins.
    """
    chosen = torch.randint(len(slices), (count,), generator=generator, device=generator.device)
    for numbers in chosen.split(32):
        kspace = slices.stack(numbers.tolist()).to(generator.device)
        yield augment(kspace if size is None else crop(kspace, size), generator)


def augment(
    kspace: Tensor, generator: torch.Generator, shard: Shard | None = None, resampled: float = 1.0
) -> Tensor:
    """Flips, rotation by 90 degrees, zoom, aspect, shift, contrast curves, smooth phase and noise.

    From complex64 (B, n, n), n even, of which the shard is by default all of the batch, to the same. A fraction of the
    slices is `resampled`: zoomed, shifted and given another contrast. The others keep the fine structure that a scanner
    gives them.
    """
    shard = shard or Shard(len(kspace))
    image = varied(kspace, generator, shard, resampled)
    total, size = shard.total, kspace.shape[-1]
    phase = shard.of(smooth_phase(total, (size, size), generator, strength=_PHASE))
    kspace = fft2c(image * torch.polar(torch.ones_like(phase), phase))
    sigma = rms(kspace) * shard.uniform(0, 1, generator) * _NOISE
    noise = shard.of(complex_noise((total, size, size), 1.0, generator))
    return kspace + noise * sigma[:, None, None]


def varied(
    kspace: Tensor, generator: torch.Generator, shard: Shard | None = None, resampled: float = 1.0
) -> Tensor:
    """The part of `augment` before phase and noise, arguments as there: complex64 (B, n, n), images."""
    size = kspace.shape[-1]
    shard = shard or Shard(len(kspace))
    uniform = partial(shard.uniform, generator=generator)
    changed = torch.ones(len(kspace), device=kspace.device)
    if resampled < 1:
        changed = (uniform(0, 1) < resampled).float()
    zoom = torch.exp(changed * uniform(math.log(_ZOOM[0]), math.log(_ZOOM[1])))
    aspect = torch.exp(changed * uniform(-1, 1) * math.log(_ASPECT) / 2)
    shift = changed * torch.stack([uniform(-_SHIFT, _SHIFT), uniform(-_SHIFT, _SHIFT)]) * size
    turn = shard.of(torch.randint(8, (shard.total,), generator=generator, device=kspace.device))
    image = _flip_and_turn(_resample(kspace, zoom, aspect, shift), turn)
    # Half of the slices get waves in their contrast curve, the others a plain gamma.
    waves = changed * uniform(-0.6, 0.6).clamp_min(0.0)
    gamma = 1 + changed * (uniform(0.75, 1.33) - 1)
    return _contrast(image, gamma, waves, uniform(0.5, 1.5), uniform(0, 2 * math.pi))


def _resample(kspace: Tensor, zoom: Tensor, aspect: Tensor, shift: Tensor) -> Tensor:
    """Image of k-space on a zoomed and shifted grid, by exact trigonometric interpolation (two matrix products)."""
    size = kspace.shape[-1]
    centred = torch.arange(size, device=kspace.device) - size // 2
    sides = []
    for factor, offset in ((zoom * aspect, shift[0]), (zoom / aspect, shift[1])):
        where = (centred[None] - offset[:, None]) / factor[:, None]  # (B, n) source positions, in pixels
        inside = (where.abs() <= size / 2).float()  # the interpolant is periodic: nothing beyond the field
        angle = (2 * math.pi / size) * where[:, :, None] * centred[None, None]
        sides.append(torch.polar(inside[:, :, None].expand_as(angle) / math.sqrt(size), angle))
    return sides[0] @ kspace @ sides[1].transpose(1, 2)


def _flip_and_turn(image: Tensor, choice: Tensor) -> Tensor:
    """Each slice by one of the eight symmetries of the square, 0 to 7."""
    turned = []
    for slice_, symmetry in zip(image, choice.tolist(), strict=True):
        flipped = slice_.flip(0) if symmetry >= 4 else slice_
        turned.append(torch.rot90(flipped, symmetry % 4, (0, 1)))
    return torch.stack(turned)


def _contrast(image: Tensor, gamma: Tensor, depth: Tensor, waves: Tensor, offset: Tensor) -> Tensor:
    """Random smooth contrast curve on the magnitude (zero stays zero); phase is kept."""
    magnitude = image.abs()
    peak = magnitude.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    level = magnitude / peak
    gamma, depth, waves, offset = (v[:, None, None] for v in (gamma, depth, waves, offset))
    wave = 1 + depth * torch.sin(2 * math.pi * waves * level + offset)
    return image * (level.clamp_min(1e-6) ** (gamma - 1) * wave)
