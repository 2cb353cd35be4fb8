"""Masks of every kind on the 16 x 16 grid, and inference with few steps."""

import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask

EVERYTHING = torch.ones(1, 16, 16, dtype=torch.bool)
NOTHING = ~EVERYTHING
COLUMNS = NOTHING.clone()
COLUMNS[..., [0, 3, 5, 7, 8, 9, 13]] = True


def block(s):
    return block_mask(s, 16)[None]


MASKS = {
    "everything": EVERYTHING,
    "nothing": NOTHING,
    "DC": block(1),
    "block": block(8),
    "columns": COLUMNS,
    "no centre": ~block(4),
    "scattered": torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(7)) < 0.3,
    "finest band": ~block(8),
    "a single column": NOTHING.index_fill(2, torch.tensor(9), value=True),
    "a single bin": block(1).roll((-6, 4), (1, 2)),
    "a band in the middle missing": ~block(8) | block(4),
}


def inference(model, kspace, mask, method="hybrid", noise=0.0, elements=None, **settings):
    """Of the walk over scales alone: joint refinement has tests of its own; noise is a number or (B,)."""
    settings = InferenceSettings(method=method, **{"steps": 3, **settings})
    elements = elements or [Element(k) for k in range(len(kspace))]
    noise = torch.as_tensor(noise).expand(len(kspace))
    measured = Measurement.of(kspace, mask, noise, model.decomposition)
    draws = Draws(settings.seed, settings.temperature, tuple(elements), torch.device("cpu"))
    return infer(model, measured, settings, draws)


def run(*args, **options):
    """Its bins, complex (B, 16, 16)."""
    return inference(*args, **options).bins


def samples(model, kspace, mask, count, method="hybrid", noise=0.0, number=0, **settings):
    """Posterior samples of one slice, complex (count, N, N); `kspace` complex (N, N)."""
    elements = [Element(number, k) for k in range(count)]
    return run(model, kspace.expand(count, -1, -1), mask, method, noise, elements, **settings)
