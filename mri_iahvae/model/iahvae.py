"""The complex IA-HVAE: a hierarchical VAE whose decoder is linearly separable in the Fourier domain.

All k-space here is in canonical form (`mri_iahvae.kspace.canonical`) on the model's N x N grid. Method: Penninga and
van Sloun, arXiv 2601.15894. The registries below name the encoders, heads, decoders and decompositions of a
configuration; those that the paper compares with are in `mri_iahvae.model.comparators`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.block_dct import BlockDCT
from mri_iahvae.kspace.canonical import per_bin_power
from mri_iahvae.kspace.decomposition import Decomposition, FourierBands, SingleScale
from mri_iahvae.kspace.orthogonal import Rotations
from mri_iahvae.kspace.wavelets import Wavelets
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.causal import CausalEncoder
from mri_iahvae.model.comparators.bottom_up import BottomUpEncoder
from mri_iahvae.model.comparators.ordinary import OrdinaryEncoder, OrdinaryScale
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.gains import gain_map
from mri_iahvae.model.head import Head
from mri_iahvae.model.protocols import Scale
from mri_iahvae.model.scale import BandScale


class IAHVAE(nn.Module):
    """Encoder, ladder and heads, one stage of each per scale; gains are 1 until they are measured.

    Attributes:
        decomposition: of the grid into scales.
        scales: coarse to fine.
        gains: float (bands,), RMS per bin of each band.
        power: float (N, N), mean power per bin.
    """

    gains: Tensor
    power: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder, stages, self.decomposition, self.scales = DECODERS[config.decoder](config)
        self.encoder = encoder
        self.decoder = nn.ModuleList(stages)
        for part in (self.encoder, self.decoder):
            blocks = [m for m in part.modules() if isinstance(m, Bottleneck) and m.residual]
            for block in blocks:
                block.scale_output(1 / math.sqrt(len(blocks)))
        self.set_config(config)

    def set_config(self, config: ModelConfig) -> None:
        """Adopt measured gains, core power and sigma; the architecture must be the same."""
        self.config = config
        device = next(self.parameters()).device
        unmeasured = len(config.scales) - len(config.gains)
        gains = torch.tensor((*config.gains, *(1.0,) * unmeasured), device=device)
        core = torch.tensor(config.core_power) if config.core_power else torch.ones(1, 1)
        # Buffers, to follow the module to its device; not persistent, because the config holds them.
        self.register_buffer("gains", gains, persistent=False)
        self.register_buffer("power", per_bin_power(core, gains.cpu()).to(device), persistent=False)
        self.encoder.set_gains(gains)
        for stage in cast("list[BandScale]", list(self.decoder)):
            stage.set_gains(crop(gain_map(gains), stage.side))

    @property
    def size(self) -> int:
        """Side N of the grid."""
        return self.config.size

    @property
    def sigma(self) -> float:
        return self.config.sigma


Parts = tuple[CausalEncoder | BottomUpEncoder, list[BandScale], Decomposition, Sequence[Scale]]


def _separable(config: ModelConfig) -> Parts:
    """Every scale has a head for its own band, and contexts see the coarser bins."""
    decomposition = DECOMPOSITIONS[config.decomposition](config)
    encoder = ENCODERS[config.encoder](config.scales, config.encoder_blocks, decomposition)
    stages = _stages(config, decomposition)
    return encoder, stages, decomposition, stages


def _ordinary(config: ModelConfig) -> Parts:
    """One head on the last context answers for all bins."""
    decomposition = SingleScale(config.size)
    encoder = OrdinaryEncoder(config.scales, config.encoder_blocks, decomposition)
    stages = _stages(config, decomposition, first_head=len(config.scales) - 1, sees=False)
    return encoder, stages, decomposition, [OrdinaryScale(stages)]


def _stages(
    config: ModelConfig, decomposition: Decomposition, *, first_head: int = 0, sees: bool = True
) -> list[BandScale]:
    contexts = [None, *(scale.width for scale in config.scales[:-1])]
    stages = []
    for index, (scale, coarser) in enumerate(zip(config.scales, contexts, strict=True)):
        transform = HEADS[config.heads](decomposition, index)
        head = partial(Head, transform, scale, scale.resolution(index), config.head_blocks)
        answers = head if index >= first_head else None
        stages.append(BandScale(scale, index, decomposition, config.latent, coarser, answers, sees=sees))
    return stages


ENCODERS: dict[str, type[CausalEncoder] | type[BottomUpEncoder]] = {
    "causal": CausalEncoder,
    "bottom-up": BottomUpEncoder,
}
HEADS: dict[str, Callable[[Decomposition, int], Callable[[Tensor], Tensor]]] = {
    "image": lambda decomposition, index: partial(decomposition.analysis, index=index),
    "spectral": lambda decomposition, index: nn.Identity(),  # noqa: ARG005 - as the other
}
"""What takes a head's prediction to bins: a spectral head, a literal reading of the paper, predicts the bins."""

DECOMPOSITIONS: dict[str, Callable[[ModelConfig], Decomposition]] = {
    "fourier": lambda config: FourierBands(config.size),
    "wavelets": lambda config: Wavelets(config.size),
    "block-dct": lambda config: BlockDCT(config.size),
    "rotations": lambda config: Rotations(config.size, config.angles),
}

DECODERS: dict[str, Callable[[ModelConfig], Parts]] = {"separable": _separable, "ordinary": _ordinary}
