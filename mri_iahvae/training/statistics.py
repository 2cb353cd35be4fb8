"""Gains and core power, measured on the training slices; and growth of a model to a finer grid."""

from dataclasses import replace

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, scales, split
from mri_iahvae.kspace.canonical import CORE, canonical_factor
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import DECOMPOSITIONS, IAHVAE


def canonical_batch(kspace: Tensor, size: int) -> Tensor:
    """Fully sampled k-space (B, n, n) to canonical k-space (B, size, size) of its centred block."""
    kspace = crop(kspace, size)
    side = min(CORE, size)
    core = block_mask(side, size, device=kspace.device)[None]
    # Where everything is measured the core's energy is N^2 by definition, whatever its distribution.
    power = torch.full((size, size), (size / side) ** 2, device=kspace.device)
    return kspace / canonical_factor(kspace, core, power)[:, None, None]


def measure(kspace: Tensor, config: ModelConfig) -> ModelConfig:
    """The configuration with gains and core power measured on canonical slices.

    Those are complex64 k-space (B, N, N). Gains that the configuration holds are kept: growing must leave the coarse
    scales of a model unchanged.
    """
    gains = []
    coefficients = DECOMPOSITIONS[config.decomposition](config).from_kspace(kspace)
    for band, s in zip(split(coefficients), scales(config.size), strict=True):
        count = kspace.shape[0] * int(band_mask(s).sum())
        gains.append(float((band.abs().double().square().sum() / count).sqrt()))
    core = crop(kspace, min(CORE, config.size)).abs().double().square().mean(dim=0)
    power = tuple(tuple(row) for row in core.tolist())
    return replace(config, gains=(*config.gains, *gains[len(config.gains) :]), core_power=power)


def grow(model: IAHVAE, target: ModelConfig, sigma: float) -> IAHVAE:
    """A model with one or more finer scales whose coarse scales are those of `model`.

    Canonical bins double with each doubling of the grid, and so do gains and sigma, that `model` ended with: in image
    units the coarse bands stay what they were. New scales are fresh, their gains not yet measured.
    """
    ratio = target.size // model.size
    gains = tuple(gain * ratio for gain in model.config.gains)
    grown = IAHVAE(replace(target, gains=gains, core_power=(), sigma=sigma * ratio))
    grown.load_state_dict({**grown.state_dict(), **model.state_dict()})
    return grown
