"""Limited-memory BFGS for a batch of independent problems, preconditioned by a diagonal.

The problems of one scale (one per slice) are small and smooth, and use the same network evaluations: all move in
lockstep, each with its own curvature history, step length and end. Nothing couples them, so that a slice's result
does not depend on its batch; `torch.optim.LBFGS` treats a batch as one problem. Two-loop recursion and
backtracking: Nocedal and Wright, Numerical Optimization, algorithm 7.4 and section 3.5.
"""

import math
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (B, n) to objective (B,) and gradient (B, n)."""

_MEMORY = 10  # pairs of the curvature history
_FIRST = 0.05  # root mean square of the very first step, before any curvature is known
_DECREASE = 1e-4  # fraction of the predicted decrease that a step must reach (Armijo)
_SHORTEST = 1e-3  # a step shortened below this fraction of its direction ends the search
_LOOK = 4  # steps between looks at whether all are done: each look makes a GPU wait for the CPU


def minimise(
    evaluate: Evaluate, start: Tensor, diagonal: Tensor, *, steps: int, tolerance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Minimise every batch element's objective.

    Args:
        evaluate: objective and gradient of all batch elements.
        start: float (B, n).
        diagonal: float (B, n), positive: guess of the inverse Hessian's diagonal, up to a factor.
        steps: evaluations, the first one included.
        tolerance: a batch element is done once an accepted step lowers its objective by less than this fraction (not
            the very first step: its length is a guess); 0: never.

    Returns:
        The best x (B, n), and the evaluations that each batch element used, int64 (B,).
    """
    used = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    if steps == 0:
        return start, used
    x = start
    value, gradient = evaluate(x)
    running = torch.ones_like(value, dtype=torch.bool)
    used += 1
    history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
    factor = _FIRST * math.sqrt(x.shape[1]) / (diagonal * gradient).norm(dim=1, keepdim=True).clamp(min=1e-30)
    direction = -factor * diagonal * gradient
    length = torch.ones_like(factor)
    for step in range(1, steps):
        if tolerance and step % _LOOK == 0 and not bool(running.any()):
            break
        used += running
        move = length * direction
        new_value, new_gradient = evaluate(x + move)
        slope = (move * gradient).sum(1)
        accepted = running & (new_value <= value + _DECREASE * slope)  # false for NaN
        here = accepted[:, None]
        s = torch.where(here, move, 0)
        y = torch.where(here, new_gradient - gradient, 0)
        curvature = (s * y).sum(1, keepdim=True)
        valid = curvature > 1e-12
        history.append((s, y, torch.where(valid, 1 / curvature, 0)))
        factor = torch.where(valid, curvature / (y * diagonal * y).sum(1, keepdim=True), factor)
        gain = value - new_value
        converged = accepted & (gain <= tolerance * value) & (tolerance > 0) & (step > 1)
        # The parabola through both values and the slope says how far to step back.
        back = -slope / (2 * (new_value - value - slope))
        shorter = torch.where(back.isfinite(), back.clamp(0.1, 0.5), 0.1)[:, None] * length
        x = torch.where(here, x + move, x)
        value = torch.where(accepted, new_value, value)
        gradient = torch.where(here, new_gradient, gradient)
        newton = _times_inverse_hessian(gradient, history, factor * diagonal)
        direction = torch.where(here, -newton, direction)
        length = torch.where(here, 1.0, shorter)
        running = running & ~converged & (length[:, 0] > _SHORTEST)
    return x, used


def _times_inverse_hessian(
    gradient: Tensor, history: deque[tuple[Tensor, Tensor, Tensor]], diagonal: Tensor
) -> Tensor:
    """The two-loop recursion; pairs of rejected steps are zero and change nothing."""
    q = gradient
    weights = []
    for s, y, inverse in reversed(history):
        weights.append(inverse * (s * q).sum(1, keepdim=True))
        q = q - weights[-1] * y
    q = diagonal * q
    for (s, y, inverse), weight in zip(history, reversed(weights), strict=True):
        q = q + s * (weight - inverse * (y * q).sum(1, keepdim=True))
    return q
