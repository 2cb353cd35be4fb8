"""Minimise the objective J of one scale by gradients, its context fixed (paper, section 3 and Algorithm 1)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mri_iahvae.inference.lbfgs import Evaluate, minimise
from mri_iahvae.inference.settings import InferenceSettings, Optimizer, Schedule

if TYPE_CHECKING:
    from mri_iahvae.inference.infer import Problem

_ADAM_RATE = 0.1  # first step, in standard deviations of the prior ...
_ADAM_LAST = 0.1  # ... and the fraction of it that the last one takes, on a cosine


def refine(
    problem: "Problem", start: Sequence[Tensor], std: Sequence[Tensor], settings: InferenceSettings
) -> tuple[list[Tensor], Tensor]:
    """Minimise J, starting from whitened latents of each layer. Batch elements are independent.

    Their expected standard deviation about the minimum, `std`, preconditions L-BFGS. Steps are evaluations of J with
    its gradient, per layer for the schedule "sequential".

    Returns:
        The refined whitened latents, and the steps that each batch element used, int64 (B,).
    """
    moving = SCHEDULES[settings.schedule](len(start))
    h, refined = problem.h, []
    used = torch.zeros(len(h), dtype=torch.int64, device=h.device)
    for first in range(0, len(start), moving):
        chosen, held = slice(first, first + moving), list(start[first + moving :])
        shapes = [e.shape for e in start[chosen]]
        objective = partial(_part, problem, shapes, held, first, h)
        x, more = optimise(objective, flat(start[chosen]), flat(std[chosen]), settings)
        used += more
        refined += cut(x, shapes)
        h = problem.scale.run(h, refined[first:], first)
    return refined, used


def _part(
    problem: "Problem", shapes: list[torch.Size], held: list[Tensor], first: int, h: Tensor, x: Tensor
) -> Tensor:
    """J as a function of some layers in one vector, from number `first` on, those after them held."""
    return problem.objective(cut(x, shapes) + held, first, h)


def optimise(
    objective: Callable[[Tensor], Tensor], start: Tensor, diagonal: Tensor, settings: InferenceSettings
) -> tuple[Tensor, Tensor]:
    """Minimise the objective (B,) of every batch element over x (B, n); start and diagonal as in `lbfgs.minimise`.

    Returns:
        x, and the steps that each batch element used, int64 (B,).
    """

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        if settings.compile:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = objective(x)
            (gradient,) = torch.autograd.grad(values.sum(), x)
        # CUDA graphs put the next evaluation's results where these are.
        return values.detach(), gradient.clone() if settings.compile else gradient

    steps, tolerance = settings.budget
    return OPTIMIZERS[settings.optimizer](evaluate, start, diagonal, steps=steps, tolerance=tolerance)


def flat(latents: Sequence[Tensor]) -> Tensor:
    """Layers of latents as one vector per batch element, (B, n)."""
    return torch.cat([e.flatten(1) for e in latents], dim=1)


def cut(x: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The inverse of `flat`."""
    parts = x.split([shape[1:].numel() for shape in shapes], dim=1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _adam(evaluate: Evaluate, start: Tensor, _: Tensor, *, steps: int, **__: float) -> tuple[Tensor, Tensor]:
    """Adam with a cosine; it has no use for a diagonal, and no end of its own."""
    x = start.clone()
    optimizer = torch.optim.Adam([x], lr=_ADAM_RATE)
    for step in range(steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = _ADAM_RATE * (_ADAM_LAST + (1 - _ADAM_LAST) * cosine)
        x.grad = evaluate(x)[1]
        optimizer.step()
    return x, torch.full((len(start),), steps, dtype=torch.int64, device=start.device)


OPTIMIZERS: dict[Optimizer, Callable[..., tuple[Tensor, Tensor]]] = {"lbfgs": minimise, "adam": _adam}

SCHEDULES: dict[Schedule, Callable[[int], int]] = {"joint": lambda layers: layers, "sequential": lambda _: 1}
"""Layers that move together, of so many."""
