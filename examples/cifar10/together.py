"""All scales of a separable model as one: refined together, not one after the other.

Algorithm 1 refines a scale for its own coefficients. What its latents say to finer scales is then no part of the
objective, and is given up for the prior. Here the objective is that of all coefficients and all latents.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from types import SimpleNamespace

import torch
from torch import Tensor

from examples.cifar10.model import Colours, ColourVAE
from mri_iahvae.model.comparators.bottom_up import BottomUpSession
from mri_iahvae.model.protocols import Encoded, Latents, Scale
from mri_iahvae.model.walk import Walk


class Together:
    """A `Scale` that holds the scales of a model; all of its layers are run at once.

    Its contexts are each scale's own business: what `run` gives are the coefficients, complex (B, 2 N, 2 N).
    """

    def __init__(self, model: ColourVAE) -> None:
        self._model = model
        self.index, self.side = model.scales[-1].index, model.scales[-1].side
        self.latents = tuple(one for scale in model.scales for one in scale.latents)

    def variance(self) -> float:
        return self.energy() / (2 * self.side**2)

    def energy(self) -> float:
        return sum(scale.energy() for scale in self._model.scales)

    def context(self, h: Tensor | None, coarse: Tensor) -> Tensor:
        return self._model.scales[0].context(h, coarse)

    def run(self, h: Tensor, latents: Latents | None = None, first: int = 0) -> Tensor:  # noqa: ARG002 - as `Scale.run`
        walk = Walk(self._model, len(h), h.device)
        parts = by_scale(self._model.scales, latents)
        for scale, start in walk:
            last = scale.run(start, None if latents is None else next(parts))
            walk.extend(last, scale.bins(last))
        return walk.coarse

    def bins(self, last: Tensor) -> Tensor:
        return last

    def encode(
        self,
        h: Tensor,
        features: dict[int, Tensor],
        noise: Latents | None = None,
        fraction: Tensor | None = None,
    ) -> Encoded:
        walk = Walk(self._model, len(h), h.device)
        drawn = by_scale(self._model.scales, noise)
        found = []
        for scale, start in walk:
            own = None if noise is None else next(drawn)
            found.append(scale.encode(start, features[scale.index], own, fraction))
            walk.extend(found[-1].last, scale.bins(found[-1].last))
        mean, std, latents = (
            [e for one in found for e in getattr(one, name)] for name in ("mean", "std", "latents")
        )
        return Encoded(walk.coarse, mean, std, latents, torch.stack([one.rate for one in found]).sum(0))


def by_scale(scales: Iterable[Scale], latents: Latents | None) -> Iterator[list[Tensor]]:
    """Latents of all layers, scale by scale; nothing if there are none."""
    layers = iter(latents or ())
    return ([next(layers) for _ in scale.latents] for scale in scales)


def together(model: ColourVAE) -> SimpleNamespace:
    """The `Model` whose only scale is so."""
    one = Together(model)

    def begin(coefficients: Tensor, mask: Tensor) -> BottomUpSession:
        return BottomUpSession({one.index: model.encoder.begin(coefficients, mask).all})

    return SimpleNamespace(
        decomposition=Colours(model.size, whole=True),
        scales=[one],
        sigma=model.sigma,
        encoder=SimpleNamespace(causal=False, begin=begin),
    )


def regrouped(model: ColourVAE, latents: Iterable[Latents]) -> list[Latents]:
    """Latents of one scale or of several, as those of the scales of `model`."""
    return list(by_scale(model.scales, list(chain.from_iterable(latents))))
