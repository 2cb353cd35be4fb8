"""Refinement of one scale's latents by gradients, its context fixed (paper, section 3 and Algorithm 1).

The latents are whitened, z = mu_p + sigma_p e:

    J(e) = |e - e_0|^2 / 2 + sum over the measured bins of the band of |h(e) - y|^2 / (2 (sigma^2 + sigma_n^2))

With e_0 = 0 this is the negative log posterior of e up to a constant: the prior of e is standard normal, so no
log sigma_p term can reward shrinking the prior, and one step size fits all layers. With the variances of the model
and of the noise, beta = 1 needs no tuning, but for priors that spread too far (`inference.measurement`). With e_0 and y
perturbed by draws from their own distributions, the
minimum is a posterior sample, exactly so where h is linear ("randomize then optimize", Bardsley et al. 2014).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mri_iahvae.inference.graphs import recordable, recorded
from mri_iahvae.inference.lbfgs import Evaluate, minimise
from mri_iahvae.inference.settings import Optimizer, Schedule
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.ordinary import WholeLadder

_ADAM_RATE = 0.1  # first step, in standard deviations of the prior ...
_ADAM_LAST = 0.1  # ... and the share of it that the last one takes, on a cosine


@dataclass(frozen=True)
class Problem:
    """The objective J of one scale.

    Attributes:
        model: weights without gradients.
        index: scale index.
        h: (B, C, r, r), context that the scale starts from.
        centre: e_0 of each layer, (B, latent, r, r).
        data: complex (B, s, s), y: measured bins of the band.
        weight: float (B, s, s), 1 / (2 (sigma^2 + sigma_n^2)) at measured bins of the band, else 0.
    """

    model: IAHVAE | WholeLadder
    index: int
    h: Tensor
    centre: list[Tensor]
    data: Tensor
    weight: Tensor

    def objective(self, whitened: list[Tensor], first: int = 0, h: Tensor | None = None) -> Tensor:
        """J of each row in nats, (B,), of the layers from `first` on.

        Args:
            whitened: e of each of these layers.
            first: number of the first layer.
            h: context before it; None: that of the scale.
        """
        last, _ = self.model.descend(self.index, self.h if h is None else h, whitened, first)
        residual = torch.view_as_real(self.model.band(self.index, last) - self.data).square().sum(-1)
        offsets = [e - c for e, c in zip(whitened, self.centre[first:], strict=True)]
        prior = torch.stack([e.square().flatten(1).sum(1) for e in offsets]).sum(0) / 2
        return prior + (self.weight * residual).flatten(1).sum(1)


def refine(
    problem: Problem,
    start: list[Tensor],
    spread: list[Tensor],
    *,
    steps: int,
    tolerance: float = 0.0,
    optimizer: Optimizer = "lbfgs",
    schedule: Schedule = "joint",
) -> tuple[list[Tensor], Tensor]:
    """Minimise J. Rows are independent: a row's result does not depend on its batch.

    Args:
        problem: the objective.
        start: whitened latents of each layer to start from.
        spread: expected standard deviation of each whitened latent about the minimum: 1 for the prior's, that of
            the encoder's posterior when there is one. It preconditions L-BFGS.
        steps: evaluations of J with its gradient, per layer for "sequential".
        tolerance: of L-BFGS (`lbfgs.minimise`).
        optimizer: "lbfgs" or "adam".
        schedule: "joint" moves all layers together; "sequential" one after the other, later ones held.

    Returns:
        The refined whitened latents, and the steps that each row used, int64 (B,).
    """
    moving = len(start) if schedule == "joint" else 1
    h, refined = problem.h, []
    used = torch.zeros(len(start[0]), dtype=torch.int64, device=h.device)
    for first in range(0, len(start), moving):
        last = first + moving
        evaluate, layered = _evaluation(problem, h, start, first, last)
        x, more = optimise(
            evaluate,
            flat(start[first:last]),
            flat(spread[first:last]),
            steps=steps,
            tolerance=tolerance,
            optimizer=optimizer,
        )
        used += more
        refined += layered(x)
        h, _ = problem.model.descend(problem.index, h, refined[first:], first)
    return refined, used


def _evaluation(
    problem: Problem, h: Tensor, start: list[Tensor], first: int, last: int
) -> tuple[Evaluate, Callable[[Tensor], list[Tensor]]]:
    """J as a function of layers first ... last - 1 in one vector per row, later ones held at `start`.

    Also returns what cuts such vectors into layers again. h is the context before layer `first`.
    """
    shapes = [e.shape for e in start[first:last]]
    sizes = [shape[1:].numel() for shape in shapes]
    layers = len(start)

    def layered(x: Tensor) -> list[Tensor]:
        parts = x.split(sizes, dim=1)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def build(tensors: Sequence[Tensor]) -> Evaluate:
        context, data, weight, *rest = tensors
        centre, held = rest[:layers], rest[layers:]
        here = replace(problem, data=data, weight=weight, centre=centre)

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                values = here.objective(layered(x) + held, first, context)
                (gradient,) = torch.autograd.grad(values.sum(), x)
            return values.detach(), gradient

        return evaluate

    tensors = [h, problem.data, problem.weight, *problem.centre, *start[last:]]
    if not recordable(h.device):
        return build(tensors), layered
    key = (problem.index, first, last)
    return recorded(problem.model, key, build, tensors, flat(start[first:last])), layered


def optimise(
    evaluate: Evaluate, start: Tensor, diagonal: Tensor, *, steps: int, tolerance: float, optimizer: Optimizer
) -> tuple[Tensor, Tensor]:
    """Minimise every row's objective: x (B, n), and the steps that each row used, int64 (B,); see `lbfgs.minimise`."""
    if optimizer == "lbfgs":
        return minimise(evaluate, start, diagonal, steps=steps, tolerance=tolerance)
    used = torch.full((len(start),), steps, dtype=torch.int64, device=start.device)
    return _adam(evaluate, start, steps), used


def flat(latents: Sequence[Tensor]) -> Tensor:
    """Layers of latents as one vector per row, (B, n)."""
    return torch.cat([e.flatten(1) for e in latents], dim=1)


def _adam(evaluate: Evaluate, start: Tensor, steps: int) -> Tensor:
    x = start.clone()
    optimizer = torch.optim.Adam([x], lr=_ADAM_RATE)
    for step in range(steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = _ADAM_RATE * (_ADAM_LAST + (1 - _ADAM_LAST) * cosine)
        x.grad = evaluate(x)[1]
        optimizer.step()
    return x
