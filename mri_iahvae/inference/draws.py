"""Seeded noise for posterior samples: every number is a pure function of where it is used.

A sample must not depend on the batch that it was computed in, on the device, or on what else was drawn. Each array
therefore has a generator of its own, seeded by (seed, slice, sample, scale, purpose), on the CPU.

Samples come in antithetic pairs, 0 and 1, 2 and 3 ...: the second takes the first one's noise with the sign turned.
Their mean is free of all that is odd in the noise, so that few samples already give the posterior mean well.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.model.iahvae import IAHVAE

Purpose = Literal["latents", "posterior", "model", "noise"]
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True)
class Row:
    """One row of a batch: a slice, and which posterior sample of it; None for the most probable estimate."""

    slice: int
    sample: int | None = None


@dataclass(frozen=True)
class Draws:
    """Noise for the rows of one batch.

    Attributes:
        seed: of the run.
        temperature: factor on everything that is drawn.
        rows: of the batch; rows without a sample number draw zeros.
        device: where the noise is needed.
    """

    seed: int
    temperature: float
    rows: tuple[Row, ...]
    device: torch.device

    def drawn(self) -> Tensor:
        """Rows that are samples, and not the most probable estimate: bool (B,)."""
        samples = [row.sample is not None and self.temperature > 0 for row in self.rows]
        return torch.tensor(samples, device=self.device)

    def normal(self, shape: tuple[int, ...], index: int, purpose: Purpose, count: int = 0) -> Tensor:
        """Standard normal numbers times the temperature, float32 (B, *shape).

        Args:
            shape: of one row.
            index: scale index.
            purpose: what they are for.
            count: tells several arrays of one purpose apart.
        """
        if not bool(self.drawn().any()):
            return torch.zeros(len(self.rows), *shape, device=self.device)
        out = torch.zeros(len(self.rows), *shape)
        for target, row in zip(out, self.rows, strict=True):
            if row.sample is not None:
                key = [self.seed, row.slice, row.sample // 2, index, _PURPOSES.index(purpose), count]
                state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
                torch.randn(shape, generator=torch.Generator().manual_seed(state), out=target)
                if row.sample % 2:
                    target.neg_()
        return (self.temperature * out).to(self.device)

    def latents(self, model: IAHVAE, index: int, purpose: Purpose) -> list[Tensor]:
        """Whitened latents of each layer of a scale, (B, latent, r, r); zero, the mean, where rows are no samples."""
        shape = model.latent_shape(index)
        return [self.normal(shape, index, purpose, j) for j in range(len(model.layers(index)))]

    def bins(self, s: int, index: int, purpose: Purpose, count: int = 0) -> Tensor:
        """Complex numbers of that deviation per real and imaginary part, complex64 (B, s, s)."""
        return torch.view_as_complex(self.normal((s, s, 2), index, purpose, count))
