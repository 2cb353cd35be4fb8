"""Muon for the kernels of convolutions, AdamW for all other parameters, as one optimizer (Jordan et al. 2024).

A kernel is taken as a matrix, output channels by the rest. Its step is the matrix with orthonormal rows or columns that
is nearest to the averaged gradient: every direction that the gradient has moves the kernel alike. The size of the step
is brought to that of AdamW's (Liu et al., arXiv 2502.16982), so both share one rate and one decay. `torch.optim.Muon`
takes matrices alone.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_AS_ADAMW = 0.2  # root mean square of the entries of AdamW's steps, in units of the rate
_ITERATION = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic that takes singular values to about 1
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW whose groups with `"orthogonal": True` take the steps of Muon; their parameters have at least two axes."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        loss = None
        if closure is not None:  # before the groups are parted: it may clear the gradients of all
            with torch.enable_grad():
                loss = closure()
        every = self.param_groups
        self.param_groups = [group for group in every if not group.get("orthogonal")]
        try:
            super().step()
        finally:
            self.param_groups = every
        for group in every:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, group["lr"], group["weight_decay"])
        return loss

    def _move(self, parameter: Tensor, rate: float, decay: float) -> None:
        gradient = parameter.grad
        assert gradient is not None  # noqa: S101 - asked before
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # AdamW wants one when a state is loaded
            state["average"] = torch.zeros_like(parameter)
        state["step"] += 1
        average = state["average"].lerp_(gradient, 1 - _MOMENTUM)
        step = orthogonal(gradient.lerp(average, _MOMENTUM).flatten(1))
        parameter.mul_(1 - rate * decay)
        parameter.sub_(step.reshape(parameter.shape), alpha=rate * _AS_ADAMW * math.sqrt(max(step.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns, float (m, n): singular values between 0.7 and 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    a, b, c = _ITERATION
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
