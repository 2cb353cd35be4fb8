"""Diagonal Gaussians over latents: closed-form KL, log density, reparameterised samples."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag(exp(log_std))^2); both tensors have the shape of the latent."""

    mean: Tensor
    log_std: Tensor

    @property
    def std(self) -> Tensor:
        return self.log_std.exp()

    def at(self, whitened: Tensor) -> Tensor:
        """The latent that stands `whitened` standard deviations from the mean."""
        return self.mean + self.std * whitened

    def nll(self, z: Tensor) -> Tensor:
        """-log N(z; mean, std), in nats, summed over all but the batch axis: (B,)."""
        whitened = (z - self.mean) * (-self.log_std).exp()
        return (0.5 * (whitened.square() + _LOG_TWO_PI) + self.log_std).flatten(1).sum(1)


def whitened_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) in nats, summed over all but the batch axis: (B,).

    With mean and standard deviation of a posterior in units of its prior's, this is KL(q || p).
    """
    return (0.5 * ((2 * log_std).exp() + mean.square() - 1 - 2 * log_std)).flatten(1).sum(1)


def soft_bound(value: Tensor, bound: float) -> Tensor:
    """Smoothly limit to (-bound, bound): log standard deviations must not overflow when exponentiated."""
    return bound * torch.tanh(value / bound)
