"""The ordinary HVAE's gradient on the weights of a separable model, and the layers that each schedule evaluates.

In an ordinary HVAE a latent acts on the whole image: its gradient runs through every later layer of its own and of
all finer scales, and through their heads, to the error of the whole image. So it does here: the decoder descends from
any layer with its contexts attached, through the coarser bins too, which are the model's own. Later latents are held
at their start. The optimizer is the package's, as are the encoder's features.

For speed on the same weights; an ordinary HVAE that was trained as one is compared in `comparators.py`.

Scales of which nothing is measured are left out, as in the package. (An ordinary HVAE could not do that: every layer
counts for every bin.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from mri_iahvae.inference.measurement import Datum, Measurement
from mri_iahvae.inference.partial import encode_imputed
from mri_iahvae.inference.refine import cut, flat, optimise
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.ladder import LadderLayer
from mri_iahvae.model.walk import Walk

if TYPE_CHECKING:
    from mri_iahvae.model.scale import BandScale

Separable = Literal["joint", "sequential"]
Ordinary = Literal["layerwise", "scalewise", "allatonce"]
Schedule = Separable | Ordinary
SEPARABLE: tuple[Separable, ...] = get_args(Separable)
ORDINARY: tuple[Ordinary, ...] = get_args(Ordinary)
SCHEDULES: tuple[Schedule, ...] = (*SEPARABLE, *ORDINARY)

STEP_SIZE = 0.001
"""Of the paper's gradient descent."""


class Block(NamedTuple):
    """Layers first ... stop - 1 move together; their gradient runs through layers first ... end - 1."""

    first: int
    stop: int
    end: int


def blocks(layers: Sequence[int], schedule: Schedule) -> list[Block]:
    """What a schedule refines, in turn.

    Args:
        layers: number of layers of each scale.
        schedule: "joint" and "sequential" are the package's, separable ones; of the ordinary gradient there are
            one layer after the other, one scale after the other, and all latents at once.
    """
    total, found, start = sum(layers), [], 0
    if schedule == "allatonce":
        return [Block(0, total, total)]
    for count in layers:
        stop = start + count
        end = stop if schedule in SEPARABLE else total
        if schedule in ("joint", "scalewise"):
            found.append(Block(start, stop, end))
        else:
            found += [Block(layer, layer + 1, end) for layer in range(start, stop)]
        start = stop
    return found


def evaluations(layers: Sequence[int], schedule: Schedule) -> int:
    """Layer evaluations of one step of every block."""
    return sum(block.end - block.first for block in blocks(layers, schedule))


@dataclass(frozen=True)
class Place:
    """A layer of the decoder, and what comes to it.

    Attributes:
        index: number of its scale.
        layer: its number in that scale.
        h: context before it; the last one, after the last layer of all.
        coarse: complex (B, s/2, s/2), coefficients of the coarser scales.
    """

    index: int
    layer: int
    h: Tensor
    coarse: Tensor


@dataclass(frozen=True)
class Ladder:
    """The layers of all measured scales as one ladder, and what their latents have to explain.

    Attributes:
        model: the separable model.
        data: of each scale, up to the finest of which anything is measured.
        features: of the encoder, for each of these scales.
    """

    model: IAHVAE
    data: list[Datum]
    features: list[Tensor]

    @classmethod
    @torch.no_grad()
    def observe(cls, model: IAHVAE, kspace: Tensor, mask: Tensor) -> "Ladder":
        """Encode as amortized inference does, missing bins imputed.

        Args:
            model: the model.
            kspace: complex64 (B, N, N), canonical.
            mask: bool (B, N, N).
        """
        noise = torch.zeros(len(kspace), device=kspace.device)
        measured = Measurement.of(kspace, mask, noise, model.decomposition)
        data = [measured.at(scale) for scale in model.scales]
        while not data[-1].mask.any():
            data.pop()
        features, rounds = [], InferenceSettings().imputation_rounds
        walk = Walk(model, len(kspace), kspace.device, scales=model.scales[: len(data)])
        session = model.encoder.begin(measured.kspace, measured.mask)
        for (scale, h), y in zip(walk, data, strict=True):
            here, encoded = encode_imputed(model, scale, h, walk, session, y, rounds)
            features.append(here)  # of the last round of imputation
            walk.extend(encoded.last, y.fuse(scale.bins(encoded.last), model.sigma**2))
            session.extend(scale, walk.coarse)
        return cls(model, data, features)

    @property
    def layers(self) -> list[int]:
        """Number of layers of each scale."""
        return [len(scale.latents) for scale in self.model.scales[: len(self.data)]]

    @cached_property
    def weight(self) -> list[Tensor]:
        """1 / (2 sigma^2) at measured bins of each scale, else 0: float (B, s, s)."""
        return [y.weight(self.model.sigma**2) for y in self.data]

    def origin(self) -> Place:
        """The first layer of all."""
        coarse = self.data[0].value[:, :0, :0]
        return Place(0, 0, self.model.scales[0].context(None, coarse), coarse)

    def after(self, place: Place, h: Tensor, count: int) -> tuple[list[Tensor], Place]:
        """The place `count` layers on, where the context is h; and the bins of the scale, if that ends there."""
        scales, index = self.model.scales, place.index
        if place.layer + count < len(scales[index].latents):
            return [], replace(place, layer=place.layer + count, h=h)
        part = scales[index].bins(h)
        coarse = self.model.decomposition.extend(place.coarse, part, index)
        if index + 1 < len(scales):
            h = scales[index + 1].context(h, coarse)
        return [part], Place(index + 1, 0, h, coarse)

    def descend(self, place: Place, latents: Sequence[Tensor]) -> tuple[list[Tensor], Place]:
        """Run layers from a place on, contexts attached.

        Args:
            place: before the first of them.
            latents: whitened, one per layer.

        Returns:
            The bins of the scales that end on the way, and the place after the last layer.
        """
        parts = []
        while latents:
            scale = self.model.scales[place.index]
            count = min(len(scale.latents) - place.layer, len(latents))
            ended, place = self.after(place, scale.run(place.h, latents[:count], place.layer), count)
            parts += ended
            latents = latents[count:]
        return parts, place

    def objective(self, place: Place, moving: Sequence[Tensor], held: Sequence[Tensor]) -> Tensor:
        """J in nats, (B,): prior of the whitened latents that move, error of all measured scales from here on."""
        parts, _ = self.descend(place, [*moving, *held])
        value = flat(moving).square().sum(1) / 2
        for part, y, weight in zip(parts, self.data[place.index :], self.weight[place.index :], strict=True):
            residual = torch.view_as_real(part - y.value).square().sum(-1)
            value = value + (weight * residual).flatten(1).sum(1)
        return value

    def minimise(
        self, place: Place, start: Sequence[Tensor], std: Sequence[Tensor], moving: int, steps: int
    ) -> list[Tensor]:
        """Refine `moving` layers from a place on, by the package's L-BFGS.

        Args:
            place: before the first layer that moves.
            start: whitened latents of that and all later layers.
            std: their expected standard deviations about the minimum.
            moving: number of layers.
            steps: evaluations of the objective with its gradient.
        """
        held, shapes = start[moving:], [e.shape for e in start[:moving]]
        x, _ = optimise(
            lambda x: self.objective(place, cut(x, shapes), held),
            flat(start[:moving]),
            flat(std[:moving]),
            InferenceSettings("hybrid", steps),
            steps,
        )
        return cut(x, shapes)

    def encoded(self) -> tuple[list[Tensor], list[Tensor]]:
        """The encoder's posterior of every layer, given the model's own bins: whitened means, deviations."""
        mean, std = [], []
        walk = Walk(self.model, len(self.data[0].value), self.data[0].value.device)
        for (scale, h), features, y in zip(walk, self.features, self.data, strict=False):
            encoded = scale.encode(h, features, fraction=y.fraction)
            walk.extend(encoded.last, scale.bins(encoded.last))
            mean += encoded.mean
            std += encoded.std
        return mean, std

    @torch.no_grad()
    def refine(self, schedule: Ordinary, steps: int) -> Tensor:
        """Infer all bins: start at the encoder's posterior, refine by the ordinary gradient, complete.

        Args:
            schedule: which latents move together.
            steps: per block of the schedule; 0: the amortized estimate.

        Returns:
            complex64 (B, N, N), the model's own bins, canonical.
        """
        place = self.origin()
        start, std = self.encoded()
        for first, stop, _ in blocks(self.layers, schedule):
            latents = self.minimise(place, start[first:], std[first:], stop - first, steps)
            _, place = self.descend(place, latents)
        return self._completed(place)

    @torch.no_grad()
    def paper(self, steps: int, step_size: float = STEP_SIZE) -> Tensor:
        """The paper's algorithm (`inference.comparators.paper`) as an ordinary HVAE must run it: layer by layer.

        Each layer takes plain gradient steps on -log N(z; mu_p, sigma_p) plus the L1 of all bins that it acts on.
        Later latents z hold their amortized start.
        """
        place = self.origin()
        while place.index < len(self.data):
            layer = self._layer(place)
            prior, residual = layer.prior(place.h)
            (z, *held), _ = self._rest(place)
            for _ in range(steps):
                with torch.enable_grad():
                    z = z.detach().requires_grad_()
                    ended, after = self.after(place, layer.advance(place.h, residual, z), 1)
                    parts = ended + self._rest(after, held)[1]
                    loss = prior.nll(z).sum()
                    for part, y in zip(parts, self.data[place.index :], strict=True):
                        loss = loss + (torch.view_as_real(part - y.value).abs().sum(-1) * y.mask).sum()
                    (gradient,) = torch.autograd.grad(loss, z)
                z = (z - step_size * gradient).detach()
            _, place = self.after(place, layer.advance(place.h, residual, z), 1)
        return self._completed(place)

    def _rest(self, place: Place, held: Sequence[Tensor] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Latents z of the layers from a place on, by default the encoder's means, and the bins of their scales."""
        latents: list[Tensor] = []
        parts: list[Tensor] = []
        while place.index < len(self.data):
            layer = self._layer(place)
            prior, residual = layer.prior(place.h)
            if held is None:
                latents.append(prior.at(layer.posterior(place.h, self.features[place.index])[0]))
            else:
                latents.append(held[len(latents)])
            ended, place = self.after(place, layer.advance(place.h, residual, latents[-1]), 1)
            parts += ended
        return latents, parts

    def _layer(self, place: Place) -> LadderLayer:
        return cast("BandScale", self.model.scales[place.index]).ladder()[place.layer]

    def _completed(self, place: Place) -> Tensor:
        """All bins, once the last measured scale is refined: the finer ones at the prior mean."""
        finer = [latent for scale in self.model.scales[place.index :] for latent in scale.latents]
        mean = [place.h.new_zeros(len(place.h), *latent.shape) for latent in finer]
        return self.descend(place, mean)[1].coarse
