"""Random measurements by several coils for the guide, with sensitivities from the calibration region."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.coils import Sense, combine
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.sensitivities import calibrate
from mri_iahvae.training.guide_tasks import Draw, Measured, random_phase
from mri_iahvae.training.shard import Shard

_COILS = (2, 12)
_DISTANCE = (0.4, 0.9)  # of a coil from the centre, in fields of view
_REACH = (0.35, 0.9)  # standard deviation of a sensitivity over the distance, likewise
_TURN = 4.0  # radians, largest change of a sensitivity's phase over the field of view
_LINES = 0.8  # fraction of the masks that are columns or rows; the rest: two-dimensional random bins
_CENTRE = (6, 32)  # side of the calibration region, in bins
_NOISE = (0.01, 0.4)  # of the slice's RMS, per coil and part
_UNSTATED = 0.3  # fraction of the slices with weak noise, of which nothing is said


class MeasuredByCoils(NamedTuple):
    """A batch of measurements by several coils, and the truth.

    Attributes:
        kspace: complex64 (B, C, H, W), noisy; zero where not measured.
        sense: the coils, with the sensitivities that the calibration region gives.
        combined: of the image combined by these sensitivities: k-space of zero-filling, mask, noise level and truth.
    """

    kspace: Tensor
    sense: Sense
    combined: Measured


def random_coil_measurements(
    image: Tensor, generator: torch.Generator, shard: Shard | None = None
) -> MeasuredByCoils:
    """Measure every slice, float (B, H, W) and free of noise, by the same number of coils.

    Every mask has a measured centre, and the sensitivities are found from it: the guide learns with their errors.
    """
    shard = shard or Shard(len(image))
    device = generator.device
    coils = int(torch.randint(_COILS[0], _COILS[1] + 1, (), generator=generator, device=device))
    seeds = shard.of(torch.randint(2**62, (shard.total,), generator=generator, device=device))
    parts = [
        _measured(one[None], coils, torch.Generator(device).manual_seed(seed))
        for one, seed in zip(image, seeds.tolist(), strict=True)
    ]
    kspace, maps, mask, *rest = (torch.cat(part) for part in zip(*parts, strict=True))
    sense = Sense(maps, mask[:, None])
    return MeasuredByCoils(kspace, sense, Measured(fft2c(sense.adjoint(kspace)), mask, *rest))


def _measured(image: Tensor, coils: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """One slice (1, H, W): k-space and sensitivities (1, C, H, W), mask, stated noise, truth of the combined bins."""
    _, height, width = image.shape
    draw = Draw(generator, height, width)
    phase = random_phase(image, generator, Shard(1))
    seen = (
        random_sensitivities(coils, (height, width), generator)
        * image
        * torch.polar(torch.ones_like(phase), phase)
    )
    side = min(height, width, int(draw.uniform(*_CENTRE)))
    mask = draw.lines() if draw.uniform(0, 1) < _LINES else draw.plane()
    mask = mask | block_mask(side, height, width, device=generator.device)
    stated = draw.uniform(0, 1) >= _UNSTATED
    ratio = draw.log_uniform(*_NOISE) if stated else draw.uniform(0, _NOISE[0])
    sigma = rms(fft2c(image + 0j)) * ratio
    full = fft2c(seen[None])
    kspace = torch.where(mask, full + complex_noise(tuple(full.shape), 1.0, generator) * sigma, 0)
    maps = calibrate(kspace, mask, sigma).sensitivities
    return kspace, maps, mask[None], sigma * stated, fft2c(combine(seen[None], maps))


def random_sensitivities(coils: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Coils on a ring about the slice: complex64 (C, H, W), sum of squares 1.

    Each falls off as a Gaussian with the distance from its place, and turns its phase linearly.
    """
    device = generator.device

    def uniform(low: float, high: float, count: int = coils) -> Tensor:
        drawn = torch.rand(count, generator=generator, device=device)
        return (drawn * (high - low) + low)[:, None, None]

    y = torch.linspace(-0.5, 0.5, size[0], device=device)[:, None]
    x = torch.linspace(-0.5, 0.5, size[1], device=device)
    place = torch.arange(coils, device=device)[:, None, None] + uniform(-0.3, 0.3) + uniform(0, 1, 1)
    angle, distance, reach = 2 * math.pi / coils * place, uniform(*_DISTANCE), uniform(*_REACH, 1)
    square = (y - distance * angle.sin()).square() + (x - distance * angle.cos()).square()
    turns = uniform(-_TURN, _TURN) * y + uniform(-_TURN, _TURN) * x
    magnitude = (-square / (2 * reach.square())).exp()
    maps = torch.polar(magnitude, uniform(-math.pi, math.pi) + turns)
    return maps / torch.linalg.vector_norm(maps, dim=0)
