"""Fits the prior of the coarse block to training slices: expectation maximisation (Dempster, Laird and Rubin 1977)."""

from collections.abc import Callable

import torch
from torch import Tensor

from mri_iahvae.kspace.canonical import CORE
from mri_iahvae.model.coarse_prior import CoarsePrior, numbers_of
from mri_iahvae.model.mixture import Mixture
from mri_iahvae.training.augment import augmented
from mri_iahvae.training.slices import CachedSlices, step_seed
from mri_iahvae.training.statistics import canonical_batch

COMPONENTS = 16
_RESOLUTION = 64
_DRAWN = 16384  # augmented slices
_DRAWS = 64  # at most of each slice
_PSEUDO = 100.0  # observations that pull a component's covariance to that of all
_DITHER = 0.004  # deviation of added noise, over the model's size: often DC has no imaginary part
_FLOOR = 1e-6  # of the mean variance: no covariance is to be singular
_ROUNDS = 15
_CLUSTER_ROUNDS = 5
_TOLERANCE = 0.01  # nats per slice

Blocks = Callable[[], Tensor]


def fit_coarse_prior(slices: CachedSlices, size: int, seed: int = 0) -> CoarsePrior:
    """Fit the coarse prior of a model of `size` x `size` to its training slices, augmented as in training."""
    count = min(_DRAWN, _DRAWS * len(slices))
    samples = numbers_of(core_blocks(slices, size, count, step_seed(seed, 0, 3)))
    return CoarsePrior(fit_mixture(dithered(samples, size, seed), COMPONENTS, seed)[0])


def core_blocks(slices: CachedSlices, size: int, count: int, seed: int) -> Tensor:
    """Canonical blocks B_8, on the grid of a model of that size, of randomly chosen, augmented slices.

    The slices are augmented at a coarser resolution, on which these bins hardly depend. Complex64 (count, 8, 8).
    """
    side, generator = min(CORE, size), torch.Generator().manual_seed(seed)
    coarse = augmented(slices, count, generator, _RESOLUTION)
    return torch.cat([canonical_batch(kspace, side) for kspace in coarse]) * (size / side)


def dithered(samples: Tensor, size: int, seed: int) -> Tensor:
    """The numbers of blocks with a little noise: the density of what never varies would have no bound."""
    generator = torch.Generator().manual_seed(step_seed(seed, 0, 4))
    return samples + _DITHER * size * torch.randn(samples.shape, generator=generator)


def fit_mixture(samples: Tensor, components: int, seed: int = 0) -> tuple[Mixture, list[float]]:
    """Fit a mixture of at most so many Gaussians, the same for the same seed.

    What is maximised is the likelihood times an inverse Wishart prior of each covariance (Bishop, section 9.2.3, on why
    one is needed), about the covariance of samples within their clusters.

    Args:
        samples: float64 (n, D).
        components: K.
        seed: of the samples that the clusters start from.

    Returns:
        The mixture, and the logarithm of what is maximised in each round, nats: it never falls.
    """
    n = len(samples)
    owner = _clusters(samples, min(components, n), seed)
    belonging = torch.nn.functional.one_hot(owner).double()
    within = samples - ((belonging.mT @ samples) / belonging.sum(0)[:, None])[owner]
    floor = _FLOOR * samples.var(0, unbiased=False).mean().clamp_min(torch.finfo(torch.float32).tiny)
    scatter = _PSEUDO * (within.mT @ within / n + floor * torch.eye(samples.shape[1], dtype=samples.dtype))
    trace: list[float] = []
    while True:
        mixture = _maximise(samples, belonging, scatter)
        joint = mixture.log_joint(samples)
        total = joint.logsumexp(1)
        belonging = (joint - total[:, None]).exp()
        trace.append(float(total.sum() + _log_prior(mixture.covariances, scatter)))
        if len(trace) == _ROUNDS or (len(trace) > 1 and trace[-1] - trace[-2] < _TOLERANCE * n):
            return mixture, trace


def _clusters(samples: Tensor, components: int, seed: int) -> Tensor:
    """Clusters that EM starts from, int64 (n,), none empty: a few rounds of k-means."""
    start = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:components]
    centres = samples[start]
    for _ in range(_CLUSTER_ROUNDS):
        owner = torch.cdist(samples, centres).argmin(1)
        owner = owner.unique(return_inverse=True)[1]
        centres = torch.stack([samples[owner == k].mean(0) for k in range(int(owner.max()) + 1)])
    return owner


def _maximise(samples: Tensor, belonging: Tensor, scatter: Tensor) -> Mixture:
    """The M step: responsibilities (n, K) to the mixture of largest posterior probability."""
    count = belonging.sum(0).clamp_min(1e-6)
    means = belonging.mT @ samples / count[:, None]
    covariances = []
    for own, mean in zip(belonging.mT, means, strict=True):
        offset = samples - mean
        covariances.append(((offset.mT * own) @ offset + scatter) / (own.sum() + _PSEUDO))
    return Mixture((count / len(samples)).log(), means, torch.stack(covariances))


def _log_prior(covariances: Tensor, scatter: Tensor) -> Tensor:
    """Logarithm of the inverse Wishart densities of all covariances, but for a constant."""
    trace = torch.linalg.solve(covariances, scatter).diagonal(dim1=1, dim2=2).sum(-1)
    return -(_PSEUDO * torch.linalg.slogdet(covariances)[1] + trace).sum() / 2
