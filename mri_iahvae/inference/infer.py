"""Algorithm 1 of the paper: coarse to fine, each scale inferred with the coarser ones fixed.

| method | start of a scale's latents | then |
| --- | --- | --- |
| amortized | encoder | nothing |
| iterative | prior mean | minimise J |
| hybrid | encoder | minimise J |
| paper | encoder, layer after layer | Algorithm 1 as printed (`inference.comparators.paper`) |

A method is a `Start` and a `Refine`; scales of which nothing is measured take the prior mean, or a sample of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mri_iahvae.inference import methods
from mri_iahvae.inference.bounds import bounded
from mri_iahvae.inference.comparators import paper
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.measurement import Datum, Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.protocols import Encoded, Latents, Model, Scale, Session
from mri_iahvae.model.walk import Walk


@dataclass(frozen=True)
class Inference:
    """What was inferred.

    Attributes:
        bins: complex64 (B, N, N), canonical.
        steps: int64 (B, scales), refinement steps of each batch element at each scale.
        latents: whitened, of each layer of each scale, (B, latent, r, r).
        bounded: bool (B,), elements of which anything was out of bounds and replaced (`inference.bounds`).
    """

    bins: Tensor
    steps: Tensor
    latents: list[Latents]
    bounded: Tensor


@dataclass(frozen=True)
class Problem:
    """One scale's inference: minimise J over its whitened latents e, the context h fixed (paper, equation 7).

        J(e) = |e - e0|^2 / 2 + sum over known coefficients |h(e) - y|^2 / (2 (v + n))

    The prior of e is standard normal: no log sigma_p term can reward shrinking the prior, and one step size fits all
    layers. With e0 and y drawn from their own distributions the minimum is a posterior sample, exactly so where h(e) is
    linear.

    Attributes:
        scale: the scale.
        h: (B, C, r, r), context that it starts from.
        y: the data, with their noise variance n.
        e0: centre of the prior, of each layer; zero but for samples.
        variance: v, of the likelihood, per part.
        encode: runs the encoder.
    """

    scale: Scale
    h: Tensor
    y: Datum
    e0: Latents
    variance: float
    encode: Callable[[], tuple[Any, Encoded]]

    @cached_property
    def encoded(self) -> tuple[Any, Encoded]:
        """Encoder features of the scale, and its posterior."""
        return self.encode()

    @cached_property
    def weight(self) -> Tensor:
        """1 / (2 (v + n)), float (B, s, s)."""
        return self.y.weight(self.variance)

    def objective(self, e: Latents, first: int = 0, h: Tensor | None = None) -> Tensor:
        """J in nats, (B,), of the layers from `first` on; h is the context before them, by default the scale's."""
        bins = self.scale.bins(self.scale.run(self.h if h is None else h, e, first))
        offsets = [own - centre for own, centre in zip(e, self.e0[first:], strict=True)]
        prior = torch.stack([offset.square().flatten(1).sum(1) for offset in offsets]).sum(0) / 2
        residual = torch.view_as_real(bins - self.y.value).square().sum(-1)
        return prior + (self.weight * residual).flatten(1).sum(1)


METHODS = {
    "amortized": methods.Method(methods.from_encoder, methods.keep),
    "iterative": methods.Method(methods.from_prior, methods.minimise),
    "hybrid": methods.Method(methods.from_encoder, methods.minimise),
    "paper": methods.Method(methods.from_encoder, paper.descend, noise=False),
}


def encode(scale: Scale, h: Tensor, walk: Walk, session: Session, y: Datum) -> tuple[Any, Encoded]:
    """Features and posterior of a scale.

    A scale-causal encoder wants complete scales without noise: it sees the data fused with the prior mean.
    """
    block = y.value
    if bool((y.fraction < 1).any()):
        block = y.fuse(scale.bins(scale.run(h)), scale.variance())
    features = session.features(scale, walk.block(block))
    return features, scale.encode(h, features, fraction=y.fraction)


@methods.lower_precision
def infer(model: Model, measured: Measurement, settings: InferenceSettings, draws: Draws) -> Inference:
    """Infer all coefficients of a batch; batch elements are independent.

    The model is in evaluation mode, its weights without gradients. `draws` says which batch elements are posterior
    samples, and has their noise.
    """
    method = METHODS[settings.method]
    session = model.encoder.begin(measured.kspace, measured.mask)
    walk, found, bins = Walk(model, len(measured), measured.device), [], measured.kspace[:, :0, :0]
    error = measured.draw(draws)
    out = torch.zeros(len(measured), dtype=torch.bool, device=measured.device)
    for scale, h in walk:  # 1x1 ... NxN; an ordinary HVAE has a single one
        y, known, e0 = measured.at(scale), measured.at(scale, measured.estimate), draws.latents(scale)
        shift, residual = measured.perturbation(scale, model.sigma, error, draws)
        here = methods.unrefined(e0)
        if bool((y.fraction > 0).any()):
            seen = known if method.noise else known.exact()
            encoded = partial(encode, scale, h, walk, session, seen)
            problem = Problem(scale, h, y.shifted(shift + residual), e0, model.sigma**2, encoded)
            refined = method.refine(problem, *method.start(problem), settings, draws)
            here = here.replaced(y.fraction > 0, refined)
        last, own, latents, beyond = bounded(scale, h, here.latents, known, settings.temperature)
        out |= beyond
        predicted = own + residual
        known = known.shifted(shift)
        fused = known.fuse(predicted, measured.prediction_variance(known, predicted, model.sigma))
        shown = predicted if settings.data_consistency == "none" else fused
        bins = model.decomposition.extend(bins, shown, scale.index)
        walk.extend(last, fused)
        session.extend(scale, walk.coarse)
        found.append(replace(here, latents=latents))
    if settings.data_consistency == "hard":
        bins = torch.where(measured.mask, measured.kspace, bins)
    steps = torch.stack([one.steps for one in found], dim=1)
    return Inference(bins, steps, [one.latents for one in found], out)
