"""Tools of hierarchical VAEs, as losses and posteriors that replace the package's own in a short training.

| variant | what changes | source |
| --- | --- | --- |
| plain | nothing: the posterior is an offset and a ratio in units of the prior | NVAE, arXiv 2007.03898 |
| free bits | the divergence of a scale counts as a floor where it is below that | Kingma et al., arXiv 1606.04934 |
| annealed KL | the divergence has a weight, from 0 to 1 | Bowman et al., arXiv 1511.06349 |
| absolute | the encoder gives the posterior itself, not in units of the prior | as in VDVAE, arXiv 2011.10650 |
| precision-weighted | the posterior is the product of prior and the encoder's Gaussian | Ladder VAE, arXiv 1602.02282 |
| spectral | the largest singular value of every convolution is penalised | NVAE |
"""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.neighbours.common import Loss, Step, negative_elbo
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.ladder import LadderLayer
from mri_iahvae.training.objective import PosteriorPass, posterior_pass

if TYPE_CHECKING:
    from mri_iahvae.model.scale import BandScale

FLOOR = 0.1  # nats per latent
ANNEALED = 0.3  # fraction of the steps
PENALTY = 1e-5  # nats per dimension and unit of singular value
_POWER_STEPS = 10  # before the first use; one for every use after that


def free_bits(passed: PosteriorPass, sigma: float, floors: Tensor) -> Tensor:
    """Negative ELBO, nats per dimension, each scale's mean divergence replaced by its floor where it is below it.

    Args:
        passed: through encoder and ladder.
        sigma: of the likelihood.
        floors: float (scales,), nats.
    """
    rate = passed.kl.mean(1)
    lifted = (torch.maximum(rate, floors) - rate).sum()
    return passed.negative_elbo(sigma) + lifted / (2 * passed.bins.shape[-1] ** 2)


def annealed(passed: PosteriorPass, sigma: float, weight: float) -> Tensor:
    """Negative ELBO, nats per dimension, with a weight on the divergence."""
    rate = passed.kl.sum(0).mean() / (2 * passed.bins.shape[-1] ** 2)
    return passed.negative_elbo(sigma) - (1 - weight) * rate


def weight(progress: float) -> float:
    """Of the divergence: linear from 0 to 1 over the first part of the training, then 1."""
    return min(1.0, progress / ANNEALED)


def product(offset: Tensor, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log deviation of N(0, 1) times N(offset, ratio^2), normalised; float tensors of one shape.

    The precisions add: 1 + 1 / ratio^2.
    """
    return offset * torch.sigmoid(-2 * log_ratio), -F.softplus(-2 * log_ratio) / 2


class AbsolutePosterior(LadderLayer):
    """q(z) = N(mu, s^2) with mu and s from the encoder's block; a change of the prior does not move it."""

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """In units of the prior, as `LadderLayer.posterior`."""
        encoded = Gaussian(*super().posterior(h, features))
        prior, _ = self.prior(h)
        return (encoded.mean - prior.mean) / prior.std, encoded.log_std - prior.log_std


class PrecisionWeightedPosterior(AbsolutePosterior):
    """q(z) = p(z) N(z; mu, s^2), normalised: the encoder's Gaussian is a likelihood."""

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return product(*super().posterior(h, features))


class SpectralNorms:
    """Largest singular values of a model's convolution kernels, as matrices (out, in k k), by power iteration.

    Kernels of one shape are iterated together.
    """

    def __init__(self, model: nn.Module) -> None:
        groups = defaultdict(list)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                groups[module.weight.flatten(1).shape].append(module.weight)
        self.groups = list(groups.values())
        noise = torch.Generator().manual_seed(0)
        self.left = [torch.randn(len(g), len(g[0]), 1, generator=noise) for g in self.groups]
        for _ in range(_POWER_STEPS):
            self()

    def __call__(self) -> Tensor:
        """All of them after one more iteration, float (kernels,); differentiable in the kernels."""
        found = []
        for number, group in enumerate(self.groups):
            kernels = torch.stack([kernel.flatten(1) for kernel in group])
            with torch.no_grad():
                right = F.normalize(kernels.mT @ self.left[number], dim=1)
                self.left[number] = F.normalize(kernels @ right, dim=1)
            found.append((self.left[number].mT @ kernels @ right).flatten())
        return torch.cat(found)


def _pass(step: Step) -> PosteriorPass:
    return posterior_pass(step.model, step.coefficients, step.noise, step.teacher, step.means)


def _with_free_bits(model: IAHVAE) -> Loss:
    counts = [sum(torch.Size(one.shape).numel() for one in scale.latents) for scale in model.scales]
    floors = FLOOR * torch.tensor(counts)
    return lambda step: free_bits(_pass(step), step.sigma, floors)


def _with_annealing(model: IAHVAE) -> Loss:  # noqa: ARG001 - as the others
    return lambda step: annealed(_pass(step), step.sigma, weight(step.progress))


def _with_posterior(kind: type[LadderLayer]) -> Callable[[IAHVAE], Loss]:
    def prepare(model: IAHVAE) -> Loss:
        exchange_posteriors(model, kind)
        return negative_elbo

    return prepare


def exchange_posteriors(model: IAHVAE, kind: type[LadderLayer]) -> None:
    """Put layers of another kind in place of a model's, with the same weights."""
    stages = cast("list[BandScale]", list(model.decoder))
    for config, scale in zip(model.config.scales, stages, strict=True):
        for number, layer in enumerate(scale.ladder()):
            scale.layers[number] = _of_kind(kind, layer, config, scale.resolution)


def _of_kind(kind: type[LadderLayer], layer: LadderLayer, config: ScaleConfig, side: int) -> LadderLayer:
    other = kind(config, side, layer.latent)
    other.load_state_dict(layer.state_dict())
    return other


def _with_spectral_penalty(model: IAHVAE) -> Loss:
    norms = SpectralNorms(model)
    return lambda step: negative_elbo(step) + PENALTY * norms().sum()


VARIANTS: dict[str, Callable[[IAHVAE], Loss]] = {
    "plain": lambda model: negative_elbo,  # noqa: ARG005 - as the others
    "free bits": _with_free_bits,
    "annealed KL": _with_annealing,
    "absolute": _with_posterior(AbsolutePosterior),
    "precision-weighted": _with_posterior(PrecisionWeightedPosterior),
    "spectral": _with_spectral_penalty,
}
"""Prepare an untrained model in place, and return the loss of its training."""
