"""The guide: an unrolled network that estimates all bins from a measurement, its mask and its noise level.

Each step is a small U-shaped network on the image, followed by data consistency: learned iterative inference (Marino et
al., arXiv 1807.09356) with the unrolling of MoDL and VarNet (Aggarwal et al., arXiv 1712.02862; Hammernik et al.,
arXiv 1704.00447). One set of weights serves every Cartesian mask, noise level and size: noise level and sampling
density scale and shift the channels of every block, and there are convolutions only.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.fft import fft2c, ifft2c, to_channels, to_complex
from mri_iahvae.kspace.octaves import OCTAVES, distances, octave_of, ring_means
from mri_iahvae.model.coil_estimate import CoilEstimate
from mri_iahvae.model.consistency import Consistency, OneCoil, Predicted, SeveralCoils
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_error import Evidence, GuideError

_CORE = 16  # side of the block whose RMS sets the unit
_FLOOR = 1e-3  # noise level, in units of the slice, below which all levels look alike
_CONDITIONS = 3 + 3 * OCTAVES


class Guide(nn.Module):
    """Estimates all bins of slices of any size, and the error of that."""

    def __init__(self, config: GuideConfig) -> None:
        super().__init__()
        self.config = config
        self.condition = nn.Sequential(nn.Linear(_CONDITIONS, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.steps = nn.ModuleList(_UNet(config, 64) for _ in range(config.steps))
        self.log_sigma = nn.Parameter(torch.full((config.steps,), -2.0))  # of each step's prediction
        self.error = GuideError(config, _CONDITIONS)

    def forward(self, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Estimate:
        """Estimate all bins.

        Args:
            kspace: complex64 (B, H, W), any units; values at unmeasured bins are ignored.
            mask: bool (B, H, W), true where measured.
            noise_sigma: float (B,), noise per real and imaginary part in the units of `kspace`; zero for none.

        Returns:
            The estimate: a measured bin is the measured value where there is no noise.
        """
        evidence = self.look(kspace, mask, noise_sigma)
        variance, spread = self.error(evidence)
        unit = evidence.unit[:, None, None]
        return Estimate(evidence.kspace * unit, variance * unit.square(), spread)

    def look(self, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Evidence:
        """The estimate in units of the slice, and what its error is found from; arguments as in `forward`."""
        unit = slice_unit(kspace, mask)
        measured = torch.where(mask, kspace / unit[:, None, None], 0)
        return self._evidence(OneCoil(measured, mask, noise_sigma / unit), unit)

    def update(
        self, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, predicted: Tensor, spread: Tensor
    ) -> Tensor:
        """Estimate all bins of slices of which there is a prediction: complex64 (B, H, W), in the units of `kspace`.

        Its variance per part, `spread`, float (B, H, W), is infinite where there is none; the rest is as in `forward`.
        """
        unit = slice_unit(kspace, mask)
        one = unit[:, None, None]
        measured = torch.where(mask, kspace / one, 0)
        given = measured, mask, noise_sigma / unit, predicted / one, spread / one.square()
        return fft2c(self._unroll(Predicted(*given)).image) * one

    def combine(self, kspace: Tensor, sense: Sense, noise_sigma: Tensor) -> CoilEstimate:
        """Estimate the image that several coils measured.

        Args:
            kspace: complex64 (B, C, H, W), any units; zero where not measured.
            sense: the coils, sum of squares of their sensitivities 1, with the mask (..., H, W).
            noise_sigma: float (B,), of every coil, per part in the units of `kspace`; zero for none.

        Returns:
            The estimate. The expected error of its prediction is that of an estimate from one coil of the same mask.
        """
        measured = SeveralCoils(kspace, sense, noise_sigma)
        unit = slice_unit(fft2c(measured.zero_filled), measured.mask)
        scaled = SeveralCoils(kspace / unit[:, None, None, None], sense, noise_sigma / unit)
        evidence = self._evidence(scaled, unit)
        return CoilEstimate(
            image=ifft2c(evidence.kspace) * unit[:, None, None],
            prediction=Estimate(evidence.kspace, *self.error(evidence)),
            measured=scaled,
            weighed=(2 * self.log_sigma[-1]).exp(),
            unit=unit,
        )

    def _evidence(self, measured: Consistency, unit: Tensor) -> Evidence:
        found = self._unroll(measured)
        change, misfit = fft2c(found.update), measured.misfit(found.decoded)
        rest = (measured.mask, measured.sigma, found.conditions, change, misfit, found.hidden)
        return Evidence(unit, fft2c(found.image), *rest)

    def _unroll(self, measured: Consistency) -> "_Unrolled":
        conditions = _conditions(measured.mask, measured.sigma)
        condition = self.condition(conditions)
        image = decoded = update = measured.zero_filled
        hidden: Tensor | None = None
        for step, log_sigma in zip(self.steps, self.log_sigma, strict=True):
            update, hidden = step(image, measured.zero_filled, hidden, condition)
            decoded = image + update
            image = measured(decoded, (2 * log_sigma).exp())
        assert hidden is not None  # noqa: S101 - there is a step
        return _Unrolled(image, decoded, update, hidden, conditions)


class _Unrolled(NamedTuple):
    """What the steps end with: image, the last network's image, its update and features, and the conditions of all."""

    image: Tensor
    decoded: Tensor
    update: Tensor
    hidden: Tensor
    conditions: Tensor


def slice_unit(kspace: Tensor, mask: Tensor) -> Tensor:
    """Root mean square pixel of the image of the measured bins of B_16, of all bins where those hold nothing.

    From complex and bool (B, H, W) to float (B,), positive; 1 where nothing was measured.
    """
    height, width = kspace.shape[-2:]
    power = torch.where(mask, kspace, 0).abs().double().square()
    rows = (torch.arange(height, device=kspace.device) - height // 2).abs() <= _CORE // 2
    columns = (torch.arange(width, device=kspace.device) - width // 2).abs() <= _CORE // 2
    core = (power * (rows[:, None] & columns)).sum(dim=(1, 2))
    total = power.sum(dim=(1, 2))
    energy = torch.where(core > 1e-3 * total, core, total)
    return torch.where(energy > 0, energy / (height * width), 1.0).sqrt().float()


def _conditions(mask: Tensor, sigma: Tensor) -> Tensor:
    """Noise level and sampling density in rings of octaves, along each axis too: float (B, 3 + 3 octaves)."""
    density = mask.float()
    y, x = distances(mask)
    parts = [sigma.square().add(_FLOOR**2).log() / 4 + 2, sigma.clamp(max=4.0), density.mean(dim=(1, 2))]
    for distance in (torch.maximum(y, x), y.expand(mask.shape[-2:]), x.expand(mask.shape[-2:])):
        parts += ring_means(density, torch.ones_like(mask), octave_of(distance)).unbind(1)
    return torch.stack(parts, dim=1)


class _UNet(nn.Module):
    """Image and zero-filled image to a change of the image; the finest features go on to the next step."""

    def __init__(self, config: GuideConfig, conditions: int) -> None:
        super().__init__()
        self.config = config
        folded = config.fold**2
        widths = config.widths
        self.embed = nn.Conv2d(4 * folded, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Blocks(config.blocks, width, conditions) for width in widths[:-1])
        self.middle = _Blocks(config.blocks, widths[-1], conditions)
        self.up = nn.ModuleList(_Blocks(config.blocks, width, conditions) for width in widths[:-1])
        pairs = list(pairwise(widths))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairs)
        self.image = nn.Conv2d(widths[0], 2 * folded, 3, padding=1)
        for parameter in self.image.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, image: Tensor, zero_filled: Tensor, hidden: Tensor | None, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Complex (B, H, W) images; the change of the first, and features for the next step."""
        height, width = image.shape[-2:]
        multiple = self.config.multiple
        margin = (0, -width % multiple, 0, -height % multiple)
        pixels = F.pad(torch.cat([to_channels(image), to_channels(zero_filled)], dim=1), margin)
        folded = F.pixel_unshuffle(pixels, self.config.fold)
        x = self.embed(folded.contiguous(memory_format=torch.channels_last))
        x = x if hidden is None else x + hidden
        levels = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = blocks(x, condition)
            levels.append(x)
            x = shrink(x)
        x = self.middle(x, condition)
        upwards = list(zip(self.up, self.enlarge, levels, strict=True))
        for blocks, enlarge, level in reversed(upwards):
            x = blocks(level + F.pixel_shuffle(enlarge(x), 2), condition)
        change = to_complex(F.pixel_shuffle(self.image(F.silu(x)), self.config.fold))
        return change[..., :height, :width], x


class _Block(nn.Module):
    """Two 3 x 3 convolutions, the middle scaled and shifted by the conditions; the last starts at zero."""

    def __init__(self, width: int, conditions: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.adapt = nn.Linear(conditions, 2 * width)
        for parameter in (*self.second.parameters(), *self.adapt.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.adapt(condition)[:, :, None, None].chunk(2, dim=1)
        y = self.first(F.silu(x))
        return x + self.second(F.silu(y * (1 + scale) + shift))


class _Blocks(nn.ModuleList):
    """Blocks of one level, one after the other."""

    def __init__(self, count: int, width: int, conditions: int) -> None:
        super().__init__(_Block(width, conditions) for _ in range(count))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for block in self:
            x = block(x, condition)
        return x
