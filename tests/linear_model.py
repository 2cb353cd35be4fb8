"""A linear hierarchical VAE: its posterior is known in closed form, for every decomposition.

It uses no code of the networks: inference sees it through the protocols of `mri_iahvae.model.protocols` alone.
"""

import math

import torch

from mri_iahvae.kspace.decomposition import FourierBands
from mri_iahvae.model.protocols import Encoded, LatentShape

LAYERS = 2
RATIO = math.exp(-0.7)  # of the encoder's standard deviation to the prior's


class LinearScale:
    """A `Scale`: its coefficients are b + A e, whatever the coarser scales are."""

    def __init__(self, index, decomposition, noise):
        s = decomposition.sides[index]
        self.index, self.side, self.ring = index, s, decomposition.ring(index)
        self.latents = tuple(LatentShape(index, layer, (1, s, s)) for layer in range(LAYERS))
        self.matrices = torch.randn(LAYERS, 2 * s * s, s * s, generator=noise) / s
        self.offset = torch.randn(2, s, s, generator=noise)

    def context(self, h, coarse):
        return self.offset.expand(len(coarse), -1, -1, -1)

    def run(self, h, latents=None, first=0):
        for e, matrix in zip(latents or [], self.matrices[first:], strict=False):
            h = h + (e.flatten(1) @ matrix.T).unflatten(1, h.shape[1:])
        return h

    def bins(self, last):
        return torch.complex(last[:, 0], last[:, 1]) * self.ring

    def encode(self, h, features, noise=None, fraction=None):
        mean = [0.3 * features] * LAYERS
        latents = mean if noise is None else [m + RATIO * e for m, e in zip(mean, noise, strict=True)]
        fraction = torch.ones(len(h)) if fraction is None else fraction
        std = (RATIO**2 * fraction + 1 - fraction).sqrt()[:, None, None, None].expand_as(features)
        return Encoded(self.run(h, latents), mean, [std] * LAYERS, latents, torch.zeros(len(h)))

    def variance(self):
        return 0.5

    def energy(self):
        return math.inf  # nothing that is inferred is out of bounds

    def prior(self):
        """Mean b (d,) and A (d, n) of the scale's coefficients, real parts before imaginary ones."""
        ring = self.ring.flatten().repeat(2)
        return self.offset.flatten()[ring], torch.cat(list(self.matrices), dim=1)[ring]

    def flat(self, block):
        """The scale's coefficients of a block, complex (..., s, s), as real numbers (..., d)."""
        own = block[..., self.ring]
        return torch.cat([own.real, own.imag], dim=-1)


class RealPart:
    """An `Encoder` and its `Session`, wrong on purpose: it decides where a refinement starts, not where it ends."""

    causal = True

    def begin(self, coefficients, mask):
        return self

    def features(self, scale, block):
        return block.real[:, None]

    def extend(self, scale, block):
        pass


class LinearModel:
    """A `Model`, by default on the 4 x 4 grid and the paper's bands."""

    sigma = 0.4

    def __init__(self, decomposition=None):
        noise = torch.Generator().manual_seed(1)
        self.decomposition = decomposition or FourierBands(4)
        self.encoder = RealPart()
        self.scales = [
            LinearScale(k, self.decomposition, noise) for k in range(len(self.decomposition.sides))
        ]

    def flat(self, coefficients):
        """All coefficients, complex (..., N, N), as real numbers (..., 2 N^2), scale by scale."""
        blocks = [self.decomposition.block(coefficients, scale.index) for scale in self.scales]
        return torch.cat(
            [scale.flat(block) for scale, block in zip(self.scales, blocks, strict=True)], dim=-1
        )

    def posterior(self, coefficients, mask, sigma):
        """Mean and covariance of all coefficients given the measured ones, as `flat` orders them."""
        means, covariances = [], []
        for scale in self.scales:
            offset, matrix = scale.prior()
            covariance = matrix @ matrix.T + self.sigma**2 * torch.eye(len(offset))
            data = scale.flat(self.decomposition.block(coefficients, scale.index))
            known = self.decomposition.block(mask, scale.index)[scale.ring].repeat(2)
            inverse = torch.linalg.inv(covariance[known][:, known] + sigma**2 * torch.eye(int(known.sum())))
            gain = covariance[:, known] @ inverse
            means.append(offset + gain @ (data - offset)[known])
            covariances.append(covariance - gain @ covariance[known])
        return torch.cat(means), torch.block_diag(*covariances)


def check_samples(samples, mean, covariance):
    """That antithetic samples (K, d), K large, have a Gaussian's mean and covariance.

    They come in pairs about the mean: it is exact, and only half of them count for the covariance.
    """
    deviation, expected = (samples - mean).double(), covariance.double()
    scale = expected.diagonal().sqrt()
    assert (deviation.mean(0) / scale).abs().max() < 0.01
    found = deviation.T @ deviation / len(samples)
    error = (scale[:, None].square() * scale.square() + expected.square()) / (len(samples) / 2)
    scores = ((found - expected) / error.sqrt())[torch.triu(torch.ones_like(found)) > 0]
    assert scores.abs().max() < 6
    assert scores.square().mean().sqrt() < 1.3
