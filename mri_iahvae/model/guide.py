"""The guide: an unrolled network that estimates all bins from a measurement, its mask and its noise level.

Each step is a small U-shaped network on the image, followed by data consistency: learned iterative inference (Marino et
al., arXiv 1807.09356) with the unrolling of MoDL and VarNet (Aggarwal et al., arXiv 1712.02862; Hammernik et al.,
arXiv 1704.00447). One set of weights serves every Cartesian mask, noise level and size: noise level and sampling
density scale and shift the channels of every block, and there are convolutions only.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import fft2c, ifft2c, to_channels, to_complex

_CORE = 16  # side of the block whose RMS sets the unit
_OCTAVES = 5  # rings |k| in (2^-j-1, 2^-j] of the Nyquist frequency whose sampling density is told apart
_FLOOR = 1e-3  # noise level, in units of the slice, below which levels are not told apart


@dataclass(frozen=True)
class GuideConfig:
    """Size of the network.

    Attributes:
        steps: unrolled steps, each with weights of its own.
        widths: channels of each level of the U shape, finest first; each level halves the side.
        blocks: residual blocks per level, on the way down and on the way up.
        fold: space-to-depth factor of the finest level.
    """

    steps: int = 3
    widths: tuple[int, ...] = (48, 64, 96, 128)
    blocks: int = 2
    fold: int = 2

    @property
    def multiple(self) -> int:
        """Sides are padded to multiples of this."""
        return int(self.fold * 2 ** (len(self.widths) - 1))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**values, "widths": tuple(values["widths"])})


class Guide(nn.Module):
    """Estimates all bins of slices of any size.

    Args:
        config: size of the network.
    """

    def __init__(self, config: GuideConfig) -> None:
        super().__init__()
        self.config = config
        conditions = 3 + 3 * _OCTAVES
        self.condition = nn.Sequential(nn.Linear(conditions, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.steps = nn.ModuleList(_UNet(config, 64) for _ in range(config.steps))
        self.log_sigma = nn.Parameter(torch.full((config.steps,), -2.0))  # of each step's prediction

    def forward(self, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Tensor:
        """Estimate all bins.

        Args:
            kspace: complex64 (B, H, W), any units; values at unmeasured bins are ignored.
            mask: bool (B, H, W), true where measured.
            noise_sigma: float (B,), noise per real and imaginary part in the units of `kspace`; zero for none.

        Returns:
            complex64 (B, H, W), the estimate, in the same units. A measured bin is the measured value where there is
            no noise.
        """
        unit = slice_unit(kspace, mask)[:, None, None]
        measured = torch.where(mask, kspace / unit, 0)
        sigma = noise_sigma / unit[:, 0, 0]
        condition = self.condition(_conditions(mask, sigma))
        image = zero_filled = ifft2c(measured)
        hidden: Tensor | None = None
        for step, log_sigma in zip(self.steps, self.log_sigma, strict=True):
            change, hidden = step(image, zero_filled, hidden, condition)
            predicted = fft2c(image + change)
            variance = (2 * log_sigma).exp()
            weight = variance / (variance + sigma.square())[:, None, None]
            predicted = predicted + mask * weight * (measured - predicted)
            image = ifft2c(predicted)
        return predicted * unit


def slice_unit(kspace: Tensor, mask: Tensor) -> Tensor:
    """Root mean square pixel of the image of the measured bins of B_16, of all bins where those hold nothing.

    Args:
        kspace: complex (B, H, W).
        mask: bool (B, H, W), true where measured.

    Returns:
        float (B,), positive; 1 where nothing was measured.
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
    height, width = mask.shape[-2:]
    density = mask.float()
    y = (torch.arange(height, device=mask.device) - height // 2).abs() / (height / 2)
    x = (torch.arange(width, device=mask.device) - width // 2).abs() / (width / 2)
    parts = [sigma.square().add(_FLOOR**2).log() / 4 + 2, sigma.clamp(max=4.0), density.mean(dim=(1, 2))]
    for distance in (torch.maximum(y[:, None], x[None]), y[:, None].expand(-1, width), x.expand(height, -1)):
        octave = (-distance.clamp_min(1e-6).log2()).floor().clamp(0, _OCTAVES - 1)
        for number in range(_OCTAVES):
            ring = (octave == number).float()
            parts.append((density * ring).sum(dim=(1, 2)) / ring.sum().clamp_min(1))
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
        nn.init.zeros_(self.image.weight)
        nn.init.zeros_(self.image.bias)  # type: ignore[arg-type] # it has one

    def forward(
        self, image: Tensor, zero_filled: Tensor, hidden: Tensor | None, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Complex (B, H, W) images; the change of the first, and features for the next step."""
        height, width = image.shape[-2:]
        multiple = self.config.multiple
        margin = (0, -width % multiple, 0, -height % multiple)
        pixels = F.pad(torch.cat([to_channels(image), to_channels(zero_filled)], dim=1), margin)
        x = self.embed(
            F.pixel_unshuffle(pixels, self.config.fold).contiguous(memory_format=torch.channels_last)
        )
        x = x if hidden is None else x + hidden
        levels = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = blocks(x, condition)
            levels.append(x)
            x = shrink(x)
        x = self.middle(x, condition)
        for blocks, enlarge, level in zip(
            reversed(self.up), reversed(self.enlarge), reversed(levels), strict=True
        ):
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
