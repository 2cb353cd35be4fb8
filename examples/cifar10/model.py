"""A hierarchical VAE of colour images by half spectra, on the package's seams (`mri_iahvae.model.protocols`).

A decomposition, an encoder's input and a head of three colours are here; layers and scales are the package's.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.cifar10.half_spectrum import HalfSpectrum
from mri_iahvae.kspace.bands import crop, embed
from mri_iahvae.kspace.decomposition import CentredBlocks
from mri_iahvae.model.blocks import Bottleneck, convolution
from mri_iahvae.model.comparators.bottom_up import BottomUpEncoder, BottomUpSession
from mri_iahvae.model.comparators.ordinary import OrdinaryScale, Seen
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.scale import BandScale
from mri_iahvae.training.objective import PosteriorPass

GREY, UNIT = 127.5, 64.0
"""Grey level of the model's 0, and grey levels of its 1."""

LAYERS, CHANNELS, INNER, LATENT = 2, 64, 32, 4
"""Of each scale; latents are per pixel of its s x s pixels."""

MAPS = 8
"""Largest side of maps: finer pixels are folded into channels."""


class Colours(CentredBlocks):
    """Half spectra of three colours on one square lattice, as the package's `Decomposition`s are.

    The three coordinates of k are the first three of a tile of 2 x 2, as complex numbers without imaginary part; the
    fourth is always zero. A block B_s has the frequencies of a grid of 2 s pixels (at most N): rings that are closed
    under k -> -k reach to s/2, which s pixels cannot tell from -s/2. There is no k-space that coefficients come from.

    Args:
        size: side N of the images.
        whole: all coordinates are one scale, the last: an ordinary HVAE.
    """

    def __init__(self, size: int, *, whole: bool = False) -> None:
        half = HalfSpectrum(size)
        self.halves = [HalfSpectrum(min(2 * side, size)) for side in half.sides]
        super().__init__(2 * size)
        self.sides = tuple(2 * one.size for one in self.halves)
        rings = [half.ring(index) for index in range(len(self.sides))]
        if whole:
            rings[-1] = torch.ones(size, size, dtype=torch.bool)
        self._rings = [
            crop(_tiled(ring.expand(3, -1, -1).float()).bool(), side)
            for ring, side in zip(rings, self.sides, strict=True)
        ]

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:
        return self._rings[index].to(device)

    def analysis(self, image: Tensor, index: int) -> Tensor:
        """Block of images (B, 3, m, m), complex (B, 2 m, 2 m), m being the side of the scale's grid."""
        return _tiled(self.halves[index].analysis(image)) + 0j

    def synthesis(self, block: Tensor, index: int) -> Tensor:
        """Images (B, 3, m, m) of a block: the inverse and the adjoint of `analysis`."""
        return self.halves[index].synthesis(F.pixel_unshuffle(block.real[:, None], 2)[:, :3])


def _tiled(channels: Tensor) -> Tensor:
    """(..., 3, m, m) to (..., 2 m, 2 m)."""
    return F.pixel_shuffle(F.pad(channels, (0, 0, 0, 0, 0, 1)), 2).squeeze(-3)


class ColourHead(nn.Module):
    """Context to the coordinates of one scale, or of all: `model.head.Head` for three colours."""

    def __init__(self, decomposition: Colours, index: int, scale: ScaleConfig) -> None:
        super().__init__()
        resolution = scale.resolution(index)
        fold = decomposition.halves[index].size // resolution
        self.transform = partial(decomposition.analysis, index=index)
        self.block = Bottleneck(scale.channels, scale.inner, resolution)
        self.image = nn.Sequential(nn.SiLU(), convolution(scale.channels, 3 * fold**2, resolution))
        self.unfold = nn.PixelShuffle(fold)
        for parameter in self.image.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor, gains: Tensor) -> Tensor:
        return self.transform(self.unfold(self.image(self.block(h)))) * gains


class ColourScale(BandScale):
    """A `BandScale` whose context sees latents only, as in the paper, and whose head has three colours."""

    def __init__(
        self, config: ScaleConfig, index: int, decomposition: Colours, head: type[ColourHead] | None
    ) -> None:
        made = None if head is None else partial(head, decomposition, index, config)
        super().__init__(
            config, index, decomposition, LATENT, config.channels if index else None, made, sees=False
        )
        self.side = decomposition.sides[index]

    def energy(self) -> float:
        return float(self.gains.square().sum())


class ColourEncoder(BottomUpEncoder):
    """The bottom-up encoder, whose four input channels are three colours and the whitened sum of them."""

    def begin(self, coefficients: Tensor, mask: Tensor) -> BottomUpSession:  # noqa: ARG002 - as `Encoder.begin`
        red, green, blue = self.image(coefficients).unbind(1)
        white = self.image(coefficients / self.gain_map).sum(1)
        features = self(torch.complex(red, green), torch.complex(blue, white))
        return BottomUpSession(dict(enumerate(features)))


class OrdinaryColourEncoder(ColourEncoder):
    """The same, whose only scale takes the features of all resolutions."""

    def begin(self, coefficients: Tensor, mask: Tensor) -> BottomUpSession:
        features = super().begin(coefficients, mask).all
        everything = torch.ones(len(coefficients), device=coefficients.device)
        seen = Seen(list(features.values()), [everything] * len(features))
        return BottomUpSession({len(self) - 1: seen})


class ColourVAE(nn.Module):
    """A `Model` of colour images, float (B, 3, N, N) in grey levels; sigma of the likelihood is learnt.

    Args:
        size: N.
        ordinary: one head on the last context answers for all coordinates.
    """

    gains: Tensor

    def __init__(self, size: int = 32, *, ordinary: bool = False) -> None:
        super().__init__()
        self.size = size
        self.decomposition = Colours(size, whole=ordinary)
        last = len(self.decomposition.sides) - 1
        configs = tuple(
            ScaleConfig(LAYERS, CHANNELS, INNER, max(1, 2**index // MAPS)) for index in range(last + 1)
        )
        heads = [None if ordinary and index < last else ColourHead for index in range(last + 1)]
        stages = [
            ColourScale(config, index, self.decomposition, head)
            for index, (config, head) in enumerate(zip(configs, heads, strict=True))
        ]
        self.encoder = (OrdinaryColourEncoder if ordinary else ColourEncoder)(configs, 1, self.decomposition)
        self.decoder = nn.ModuleList(stages)
        self.scales = [OrdinaryScale(stages)] if ordinary else stages
        self.log_sigma = nn.Parameter(torch.tensor(-1.2))
        for part in (self.encoder, self.decoder):
            blocks = [
                module for module in part.modules() if isinstance(module, Bottleneck) and module.residual
            ]
            for block in blocks:
                block.scale_output(1 / math.sqrt(len(blocks)))
        self.set_gains(torch.ones(last + 1))

    def set_gains(self, gains: Tensor) -> None:
        """Adopt the RMS of the coordinates of each ring, float (scales,)."""
        self.register_buffer("gains", gains)
        last, scales = len(gains) - 1, Colours(self.size)
        rings = [embed(scales.ring(index).float(), scales.size) for index in range(last + 1)]
        full = sum(gain * ring for gain, ring in zip(gains, rings, strict=True))
        self.encoder.gain_map = torch.where(full > 0, full, 1)
        for stage, gain in zip(self.decoder, gains, strict=True):
            own = full if len(self.scales) == 1 else gain.expand(stage.side, stage.side)
            stage.set_gains(crop(own, stage.side))

    @property
    def sigma(self) -> float:
        return float(self.log_sigma.exp())

    def coefficients(self, images: Tensor) -> Tensor:
        """Of images in grey levels, complex64 (B, 2 N, 2 N)."""
        return self.decomposition.analysis((images.float() - GREY) / UNIT, len(self.decomposition.sides) - 1)

    def images(self, coefficients: Tensor) -> Tensor:
        """The inverse, float (B, 3, N, N), not rounded."""
        return self.decomposition.synthesis(coefficients, len(self.decomposition.sides) - 1) * UNIT + GREY

    def bits(self, error: Tensor, rate: Tensor | float = 0.0) -> Tensor:
        """-log2 of the likelihood's density per colour value in grey levels, plus a rate in nats: both (B,)."""
        values = 3 * self.size**2
        log_density = error / (2 * (2 * self.log_sigma).exp()) / values + self.log_sigma
        return (log_density + math.log(UNIT) + math.log(2 * math.pi) / 2 + rate / values) / math.log(2)

    def negative_elbo(self, passed: PosteriorPass) -> Tensor:
        """Bits per colour value, (B,)."""
        return self.bits(passed.error.sum(0), passed.kl.sum(0))
