"""The synthetic model of IA-VAE (arXiv 2604.06796), of which everything but the encoder is known.

z in R^2 is standard normal, and x = A z + (0, 0, z1 z2) + noise of 0.1 with A = [[1, 0], [0, 1], [1, 1]]. Its decoder
is f(z) = (z1, z2, (1 + z1)(1 + z2) - 1), so expectations of log p(x | z) under a Gaussian with independent parts are
polynomials, and the best such Gaussian is found by exact coordinate ascent.
"""

import math

import torch
from torch import Tensor

SIGMA = 0.1
CONSTANT = -1.5 * math.log(2 * math.pi * SIGMA**2)
"""Of log p(x | z): what it adds to -|x - f(z)|^2 / (2 sigma^2), 4.151."""


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Points x, float32 (count, 3)."""
    z = torch.randn(count, 2, generator=generator)
    return decoded(z) + SIGMA * torch.randn(count, 3, generator=generator)


def decoded(z: Tensor) -> Tensor:
    """f(z), (..., 2) to (..., 3)."""
    first, second = z.unbind(-1)
    return torch.stack([first, second, torch.addcmul(first + second, first, second)], dim=-1)


def log_joint(x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z), all constants counted: of x (..., 3) and z (..., 2), (...)."""
    misfit = (x - decoded(z)).square().sum(-1) / (2 * SIGMA**2)
    return CONSTANT - misfit - z.square().sum(-1) / 2 - math.log(2 * math.pi)


def kl_to_prior(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """KL divergence of N(mean, sigma^2) from the standard normal, summed over the last axis."""
    return ((mean.square() + (2 * log_sigma).exp() - 1) / 2 - log_sigma).sum(-1)


def elbo(x: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """The exact bound, all constants counted: of x (..., 3), mean and log_sigma (..., 2), (...).

    With a = 1 + m1 and b = 1 + m2 the product (1 + z1)(1 + z2) has the mean ab and the variance
    a^2 v2 + b^2 v1 + v1 v2.
    """
    v1, v2 = (2 * log_sigma).exp().unbind(-1)
    a, b = (1 + mean).unbind(-1)
    error = (x - decoded(mean)).square().sum(-1) + v1 + v2 + a**2 * v2 + b**2 * v1 + v1 * v2
    return CONSTANT - error / (2 * SIGMA**2) - kl_to_prior(mean, log_sigma)


def best_gaussian(x: Tensor, *, point: bool = False, steps: int = 1000) -> tuple[Tensor, Tensor]:
    """Mean and log sigma (n, 2) of the Gaussian with independent parts that has the largest bound of each x (n, 3).

    Coordinate ascent: given the other part, the best part is known. With `point` the variances are held at zero, and
    the mean is the mode of the posterior (MAP); sigma is then without meaning.
    """
    x = x.double()
    mean, variance = x[:, :2].clone(), torch.zeros_like(x[:, :2])
    for step in range(2 * steps):
        own, other = step % 2, 1 - step % 2
        scale, spread = 1 + mean[:, other], variance[:, other]
        precision = 1 + scale**2 + spread + SIGMA**2  # times 1 / sigma^2
        mean[:, own] = (x[:, own] + scale * (x[:, 2] + 1 - scale) - spread) / precision
        if not point:
            variance[:, own] = SIGMA**2 / precision
    return mean, variance.log() / 2


def curvature(x: Tensor, z: Tensor) -> Tensor:
    """Hessian of -log p(x, z) in z: of (n, 3) and (n, 2), (n, 2, 2); at the mode, the precision of the Laplace fit."""
    a, b = (1 + z).unbind(-1)
    mixed = 2 * a * b - x[:, 2] - 1
    rows = [torch.stack([1 + b**2, mixed], dim=-1), torch.stack([mixed, 1 + a**2], dim=-1)]
    return torch.stack(rows, dim=-2) / SIGMA**2 + torch.eye(2, dtype=z.dtype)


def log_evidence(x: Tensor, mode: Tensor) -> Tensor:
    """log p(x) of x (n, 3) by a sum over a grid in the coordinates of the Laplace fit at the mode (n, 2): (n,)."""
    axis = torch.arange(-8, 8.01, 0.4, dtype=torch.float64)
    nodes = torch.cartesian_prod(axis, axis)
    values = []
    for some, centre in zip(x.double().split(500), mode.split(500), strict=True):
        factor = torch.linalg.cholesky(torch.linalg.inv(curvature(some, centre)))
        joint = log_joint(some[:, None], centre[:, None] + nodes @ factor.mT)
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 2 * math.log(0.4)
        values.append(joint.logsumexp(1) + volume)
    return torch.cat(values)
