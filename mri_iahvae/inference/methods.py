"""Starts and refinements of a scale: what the table of methods (`inference.infer`) is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import choose
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import InferenceSettings

if TYPE_CHECKING:
    from mri_iahvae.inference.infer import Inference, Problem
    from mri_iahvae.model.protocols import Model


@dataclass(frozen=True)
class Found:
    """What was inferred of one scale.

    Attributes:
        latents: whitened, of each layer, (B, latent, r, r).
        steps: int64 (B,), refinement steps.
    """

    latents: list[Tensor]
    steps: Tensor

    def replaced(self, where: Tensor, other: "Found") -> "Found":
        """With the batch elements of `other` where bool (B,) is true."""
        latents = [choose(where, b, a) for a, b in zip(self.latents, other.latents, strict=True)]
        return Found(latents, choose(where, other.steps, self.steps))


Infer = Callable[["Model", Measurement, InferenceSettings, Draws], "Inference"]


Start = Callable[["Problem"], tuple[list[Tensor], list[Tensor]]]
"""To whitened latents of each layer, (B, latent, r, r), and their expected deviation about the minimum."""

Refine = Callable[["Problem", list[Tensor], list[Tensor], InferenceSettings, Draws], Found]
"""From what `Start` gives to the latents, and the steps taken."""


class Method(NamedTuple):
    """A row of the table of methods; `noise`: whether the encoder's input is filtered by the noise level."""

    start: Start
    refine: Refine
    noise: bool = True


def lower_precision(infer: Infer) -> Infer:
    """Run inference without gradients of weights, convolutions in the precision that the settings ask for."""

    @wraps(infer)
    def run(model: "Model", measured: Measurement, settings: InferenceSettings, draws: Draws) -> "Inference":
        with torch.no_grad(), convolutions(measured.device, settings.precision):
            return infer(model, measured, settings, draws)

    return run


def unrefined(latents: list[Tensor]) -> Found:
    """Latents after no steps: such as the prior mean, or a sample, of a scale of which nothing is measured."""
    return Found(latents, torch.zeros(len(latents[0]), dtype=torch.int64, device=latents[0].device))


def from_prior(problem: "Problem") -> tuple[list[Tensor], list[Tensor]]:
    """Start from the prior."""
    return list(problem.e0), [torch.ones_like(e) for e in problem.e0]


def from_encoder(problem: "Problem") -> tuple[list[Tensor], list[Tensor]]:
    """Start from the encoder's posterior mean; for samples, from where the perturbed minimum is expected.

    Where the posterior has variance r^2, a draw from the prior moves the minimum by r^2.
    """
    _, posterior = problem.encoded
    start = [m + r.square() * e for m, r, e in zip(posterior.mean, posterior.std, problem.e0, strict=True)]
    return start, posterior.std


def keep(
    problem: "Problem",
    start: list[Tensor],
    std: list[Tensor],
    settings: InferenceSettings,  # noqa: ARG001 - as `Refine`
    draws: Draws,
) -> Found:
    """The encoder's posterior: its mean, or a sample.

    The rest of a sample's variance, r^2 = r^4 + r^2 (1 - r^2), comes from the data's noise.
    """
    more = draws.latents(problem.scale, "posterior")
    rest = [r * (1 - r.square()).clamp(min=0).sqrt() * e for r, e in zip(std, more, strict=True)]
    return unrefined([a + b for a, b in zip(start, rest, strict=True)])


def minimise(
    problem: "Problem",
    start: list[Tensor],
    std: list[Tensor],
    settings: InferenceSettings,
    draws: Draws,  # noqa: ARG001 - as `Refine`
) -> Found:
    """The minimum of J."""
    return Found(*refine(problem, start, std, settings))
