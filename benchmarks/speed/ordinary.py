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
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args
from unittest.mock import patch

import torch
from mri_iahvae.inference.engine import infer
from torch import Tensor

from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.lbfgs import minimise
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask, split
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE, add_band, complete

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
class Measurement:
    """What the latents have to explain, one entry per scale, up to the finest of which anything is measured.

    Attributes:
        data: complex (B, s, s), measured bins of band R_s.
        weight: float (B, s, s), 1 / (2 sigma^2) at measured bins of the band, else 0.
        features: of the encoder, (B, C, r, r).
    """

    data: list[Tensor]
    weight: list[Tensor]
    features: list[Tensor]

    def fraction(self, index: int) -> Tensor:
        """Fraction of the bins of a band that is measured, float (B, 1, 1, 1)."""
        weight = self.weight[index]
        measured = (weight > 0).sum((1, 2), keepdim=True) / band_mask(weight.shape[-1], weight.device).sum()
        return measured[:, None]


def observe(model: IAHVAE, kspace: Tensor, mask: Tensor) -> Measurement:
    """Encode as the package does, missing bins imputed.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        mask: bool (B, N, N).
    """
    features: dict[int, Tensor] = {}

    def amortize(index: int, h: Tensor, here: Tensor) -> tuple:
        features[index] = here  # the last round of imputation stays
        return IAHVAE.amortize(model, index, h, here)

    rows = [Row(number) for number in range(len(kspace))]
    quiet = torch.zeros(len(kspace), device=kspace.device)
    with patch.object(model, "amortize", amortize):
        infer(model, kspace, mask, quiet, InferenceSettings("amortized"), rows)
    count = len(features)
    data = split(torch.where(mask, kspace, 0))[:count]
    weight = [band / (2 * model.config.sigma**2) for band in split(mask.float())[:count]]
    return Measurement(data, weight, [features[index] for index in range(count)])


@dataclass(frozen=True)
class Place:
    """A layer of the decoder, and what comes to it.

    Attributes:
        index: scale index.
        layer: number of the layer in its scale.
        h: context before it.
        seen: complex (B, s/2, s/2), the bins of the coarser scales.
    """

    index: int
    layer: int
    h: Tensor
    seen: Tensor


def origin(model: IAHVAE, batch: int) -> Place:
    """The first layer of all."""
    seen = torch.zeros(batch, 0, 0, dtype=torch.complex64, device=model.gains.device)
    return Place(0, 0, model.context(0, None, seen), seen)


def descend(
    model: IAHVAE, place: Place, latents: list[Tensor], *, whitened: bool = True
) -> tuple[list[Tensor], Place]:
    """Run layers from a place on, contexts attached.

    Args:
        model: the model.
        place: before the first of them.
        latents: one per layer.
        whitened: whether these are e; else z.

    Returns:
        The bands of the scales that end on the way, and the place after the last layer.
    """
    bands = []
    while latents:
        count = min(len(model.layers(place.index)) - place.layer, len(latents))
        if whitened:
            h, _ = model.descend(place.index, place.h, latents[:count], place.layer)
        else:
            h = place.h
            for layer, z in zip(model.layers(place.index)[place.layer :], latents[:count], strict=False):
                h = layer.advance(h, layer.prior(h)[1], z)
        ended, place = _after(model, place, h, count)
        bands += ended
        latents = latents[count:]
    return bands, place


def _after(model: IAHVAE, place: Place, h: Tensor, count: int) -> tuple[list[Tensor], Place]:
    """The place `count` layers on, where the context is h; and the band of the scale, if that ends there."""
    if place.layer + count < len(model.layers(place.index)):
        return [], Place(place.index, place.layer + count, h, place.seen)
    band = model.band(place.index, h)
    index, seen = place.index + 1, add_band(place.seen, band)
    if index < len(model.decoder):
        h = model.context(index, h, seen)
    return [band], Place(index, 0, h, seen)


def amortize(model: IAHVAE, measurement: Measurement, place: Place) -> list[tuple[Gaussian, Gaussian]]:
    """Prior and posterior of each layer from a place to the last measured scale, on posterior means."""
    found = []
    while place.index < len(measurement.features):
        layer = model.layers(place.index)[place.layer]
        prior, residual = layer.prior(place.h)
        posterior = layer.posterior(place.h, measurement.features[place.index], prior)
        found.append((prior, posterior))
        _, place = _after(model, place, layer.advance(place.h, residual, posterior.mean), 1)
    return found


def objective(
    model: IAHVAE, measurement: Measurement, place: Place, moving: list[Tensor], held: list[Tensor]
) -> Tensor:
    """J of each batch element in nats, (B,): prior of the whitened latents that move, error of all bands from here."""
    bands, _ = descend(model, place, moving + held)
    terms = [e.square() / 2 for e in moving]
    for h, y, weight in zip(
        bands, measurement.data[place.index :], measurement.weight[place.index :], strict=True
    ):
        terms.append(weight * torch.view_as_real(h - y).square().sum(-1))
    return torch.stack([term.flatten(1).sum(1) for term in terms]).sum(0)


def refine_block(
    model: IAHVAE,
    measurement: Measurement,
    place: Place,
    start: list[Tensor],
    deviation: list[Tensor],
    moving: int,
    steps: int,
) -> list[Tensor]:
    """Refine `moving` layers from a place on, by the package's L-BFGS.

    Args:
        model: the model.
        measurement: what is to be explained.
        place: before the first layer that moves.
        start: whitened latents of that and all later layers.
        deviation: their expected standard deviations about the minimum.
        moving: number of layers.
        steps: evaluations of the objective with its gradient.
    """
    held = start[moving:]
    sizes = [e[0].numel() for e in start[:moving]]

    def layered(x: Tensor) -> list[Tensor]:
        parts = x.split(sizes, dim=1)
        return [part.reshape(e.shape) for part, e in zip(parts, start[:moving], strict=True)]

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = objective(model, measurement, place, layered(x), held)
            (gradient,) = torch.autograd.grad(values.sum(), x)
        return values.detach(), gradient

    flat = [torch.cat([e.flatten(1) for e in several[:moving]], dim=1) for several in (start, deviation)]
    return layered(minimise(evaluate, *flat, steps=steps)[0])


@torch.no_grad()
def refine(model: IAHVAE, measurement: Measurement, schedule: Ordinary, steps: int) -> Tensor:
    """Infer all bins: start at the encoder's posterior, refine by the ordinary gradient, complete.

    Args:
        model: the model.
        measurement: as `observe` gives it.
        schedule: which latents move together.
        steps: per block of the schedule; 0: the amortized estimate.

    Returns:
        complex64 (B, N, N), the model's own bins, canonical.
    """
    place = origin(model, len(measurement.data[0]))
    layers = [len(model.layers(index)) for index in range(len(measurement.data))]
    fractions = [measurement.fraction(index) for index, count in enumerate(layers) for _ in range(count)]
    start, deviation = [], []
    for (prior, posterior), fraction in zip(amortize(model, measurement, place), fractions, strict=True):
        start.append((posterior.mean - prior.mean) / prior.std)
        deviation.append((fraction * (posterior.std / prior.std).square() + 1 - fraction).sqrt())
    for block in blocks(layers, schedule):
        here = slice(block.first, None)
        latents = refine_block(
            model, measurement, place, start[here], deviation[here], block.stop - block.first, steps
        )
        _, place = descend(model, place, latents)
    return _completed(model, place)


@torch.no_grad()
def paper(model: IAHVAE, measurement: Measurement, steps: int, step_size: float = STEP_SIZE) -> Tensor:
    """The paper's Algorithm 1 (`inference.paper`) as an ordinary HVAE must run it: layer by layer.

    Each layer takes plain gradient steps on -log N(z; mu_p, sigma_p) plus the L1 of all bins that it acts on.
    """
    place = origin(model, len(measurement.data[0]))
    while place.index < len(measurement.data):
        layer = model.layers(place.index)[place.layer]
        prior, residual = layer.prior(place.h)
        latents = [posterior.mean for _, posterior in amortize(model, measurement, place)]
        z, held = latents[0], latents[1:]
        for _ in range(steps):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                ended, after = _after(model, place, layer.advance(place.h, residual, z), 1)
                bands, _ = descend(model, after, held, whitened=False)
                loss = prior.nll(z).sum() + _distance(measurement, place.index, ended + bands)
                (gradient,) = torch.autograd.grad(loss, z)
            z = (z - step_size * gradient).detach()
        _, place = _after(model, place, layer.advance(place.h, residual, z), 1)
    return _completed(model, place)


def _distance(measurement: Measurement, index: int, bands: list[Tensor]) -> Tensor:
    """|Re| + |Im|, summed over the measured bins of scale `index` and all finer ones."""
    rest = zip(bands, measurement.data[index:], measurement.weight[index:], strict=True)
    terms = [(torch.view_as_real(h - y).abs().sum(-1) * (weight > 0)).sum() for h, y, weight in rest]
    return torch.stack(terms).sum()


def _completed(model: IAHVAE, place: Place) -> Tensor:
    """All bins, once the last measured scale is refined: the finer ones at the prior mean."""
    if place.index == len(model.decoder):
        return place.seen
    h, _ = model.descend(place.index, place.h)
    seen = add_band(place.seen, model.band(place.index, h))
    return complete(model, place.index, h, seen)
