"""Seeded noise for posterior samples: every number is a pure function of where it is used.

A sample must not depend on the batch that it was computed in, on the device, or on what else was drawn. Each array
therefore has a generator of its own, seeded by (seed, slice, sample, scale, purpose), on the CPU.

Samples come in antithetic pairs, 0 and 1, 2 and 3 ...: the second takes the first one's noise with the sign turned.
Their mean is free of all that is odd in the noise, so that few samples already give the posterior mean well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.model.protocols import Scale

Purpose = Literal["latents", "posterior", "model", "noise", "core"]
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True)
class Element:
    """One batch element: a slice, and which posterior sample of it; None for the most probable estimate."""

    slice: int
    sample: int | None = None


@dataclass(frozen=True)
class Draws:
    """Noise for the elements of one batch.

    Attributes:
        seed: of the run.
        temperature: factor on everything that is drawn.
        elements: of the batch; those without a sample number draw zeros.
        device: where the noise is needed.
    """

    seed: int
    temperature: float
    elements: tuple[Element, ...]
    device: torch.device

    def drawn(self) -> Tensor:
        """Elements that are samples, and not the most probable estimate: bool (B,)."""
        samples = [element.sample is not None and self.temperature > 0 for element in self.elements]
        return torch.tensor(samples, device=self.device)

    def normal(self, shape: tuple[int, ...], index: int, purpose: Purpose, count: int = 0) -> Tensor:
        """Standard normal numbers times the temperature, float32 (B, *shape), `shape` that of one element.

        They are array number `count` of one purpose, for the scale of that index.
        """
        if not bool(self.drawn().any()):
            return torch.zeros(len(self.elements), *shape, device=self.device)
        out = torch.zeros(len(self.elements), *shape)
        for target, element in zip(out, self.elements, strict=True):
            if element.sample is not None:
                key = [self.seed, element.slice, element.sample // 2, index, _PURPOSES.index(purpose), count]
                state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
                torch.randn(shape, generator=torch.Generator().manual_seed(state), out=target)
                if element.sample % 2:
                    target.neg_()
        return (self.temperature * out).to(self.device)

    def latents(self, scale: Scale, purpose: Purpose = "latents") -> list[Tensor]:
        """Whitened latents of each layer, (B, latent, r, r): N(0, I); zero, the mean, of what is no sample."""
        return [self.normal(one.shape, one.index, purpose, one.layer) for one in scale.latents]

    def bins(self, scale: Scale, purpose: Purpose) -> Tensor:
        """Complex numbers of that deviation per real and imaginary part, complex64 (B, s, s)."""
        shape = (scale.side, scale.side, 2)
        return torch.view_as_complex(self.normal(shape, scale.index, purpose))

    def noise(self, size: Sequence[int]) -> Tensor:
        """The same for a grid of any size, complex64 (B, H, W): what the errors of data are drawn from."""
        return torch.view_as_complex(self.normal((*size, 2), 0, "noise"))

    def coil_noise(self, size: Sequence[int]) -> Tensor:
        """The same for (coils, H, W), complex64 (B, coils, H, W); independent of `noise`."""
        return torch.view_as_complex(self.normal((*size, 2), 0, "noise", 1))
