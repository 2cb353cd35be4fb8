"""The prior of the coarse block B_8: a mixture of Gaussians over its real and imaginary parts.

The latents of the coarsest scales are few and see little, so the hierarchy learns nearly no prior there. The place of
what is missing is that of the pseudo-input of DVP-VAE (Kuzina and Tomczak, arXiv 2412.01373): low frequencies with a
learned prior of their own, from which the hierarchy goes on. B_8 of a scanner is measured as a rule; where it is
missing in part, or noisy, a mixture is conditioned exactly.

Canonical form divides a slice by one complex number, which depends on what was measured of B_8 (`kspace.canonical`).
The mixture is of slices of which all was. So a block that was measured in part is that of the mixture times an unknown
number g, whose magnitude and phase are integrated over on a grid.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.model.mixture import Mixture

_LOG_MAGNITUDES = torch.linspace(-1.5, 3.0, 31, dtype=torch.float64)
_CENTRE, _SPREAD = 0.3, 0.8  # of training slices, of which parts of B_8 are left out
_PHASES = 64
_HYPOTHESES = 128


@dataclass(frozen=True)
class CoarsePosterior:
    """What is known of a block: hypotheses, each a Gaussian in units of its own.

    Attributes:
        mixture: of x, the block divided by g.
        factor: complex128 (H,), g of each hypothesis.
    """

    mixture: Mixture
    factor: Tensor

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean, complex64 (s, s), and variance of each real and imaginary part, their average, float (s, s)."""
        weights = self.mixture.log_weights.exp()[:, None, None]
        means = self.factor[:, None, None] * block_of(self.mixture.means)
        mean = (weights * means).sum(0)
        own = pairs(self.mixture.covariances.diagonal(dim1=1, dim2=2)).sum(-1)
        spread = self.factor.abs().square()[:, None, None] * own + (means - mean).abs().square()
        return mean.to(torch.complex64), ((weights * spread).sum(0) / 2).clamp_min(0).float()

    def draw(self, noise: Tensor) -> Tensor:
        """Draws, complex64 (B, s, s), from standard normal numbers, (B, 1 + 2 s^2)."""
        numbers, chosen = self.mixture.draw(noise.double())
        return (self.factor[chosen, None, None] * block_of(numbers)).to(torch.complex64)


@dataclass(frozen=True)
class CoarsePrior:
    """The prior of canonical blocks of which all is measured.

    Attributes:
        mixture: of the 2 s^2 real numbers of a block.
    """

    mixture: Mixture

    @property
    def side(self) -> int:
        """Side s of the block."""
        return math.isqrt(self.mixture.means.shape[1] // 2)

    def log_prob(self, block: Tensor) -> Tensor:
        """Log density, nats, of canonical blocks, complex (B, s, s): float64 (B,)."""
        return self.mixture.log_prob(numbers_of(block))

    def known(self) -> CoarsePosterior:
        """The prior itself, in the canonical form of slices of which all of the block is measured: to be drawn from."""
        return CoarsePosterior(self.mixture, torch.ones(len(self.mixture.means), dtype=torch.complex128))

    def posterior(self, block: Tensor, variance: Tensor) -> CoarsePosterior:
        """The posterior of one block that is missing in part, or noisy.

        Beforehand the magnitude of g is log-normal and every phase as likely. Of all combinations of component,
        magnitude and phase some are drawn, systematically, by their posterior probability (Kitagawa 1996).

        Args:
            block: complex (s, s), in the canonical form of its own measurement; values that are missing are ignored.
            variance: float (s, s), of the noise of each real and imaginary part; infinite where a bin is missing.
        """
        known = variance.isfinite()
        measured = torch.where(known, block, 0).to(torch.complex128)
        noise = variance.double()[..., None].expand(-1, -1, 2).flatten()
        angle = 2 * math.pi / _PHASES * torch.arange(_PHASES, dtype=torch.float64)
        factors = torch.polar(_LOG_MAGNITUDES.exp()[:, None].expand(-1, _PHASES), angle)
        scores = []
        for row, log in zip(factors, _LOG_MAGNITUDES, strict=True):
            numbers = numbers_of(measured / row[:, None, None])
            evidence = self.mixture.log_evidence(numbers, noise * torch.exp(-2 * log))
            # dy = |g|^m dx for the m numbers that were measured
            scores.append(evidence - 2 * known.sum() * log - ((log - _CENTRE) / _SPREAD).square() / 2)
        # Phases vary slowest: they are covered evenly where nothing is known of them.
        steps = torch.stack(scores, dim=1).flatten().softmax(0).cumsum(0)
        places = (torch.arange(_HYPOTHESES, dtype=torch.float64) + 0.5) / _HYPOTHESES * steps[-1]
        cell, count = torch.searchsorted(steps, places), len(self.mixture.means)
        factor = factors.mT.flatten()[cell // count]
        y = numbers_of(measured / factor[:, None, None])
        log_weights = torch.full_like(places, -math.log(_HYPOTHESES))
        noise = noise / factor.abs().square()[:, None]
        return CoarsePosterior(self.mixture.posterior(cell % count, y, noise, log_weights), factor)


def pairs(numbers: Tensor) -> Tensor:
    """Real numbers (..., 2 s^2) as real and imaginary parts of a block, (..., s, s, 2)."""
    side = math.isqrt(numbers.shape[-1] // 2)
    return numbers.unflatten(-1, (side, side, 2))


def block_of(numbers: Tensor) -> Tensor:
    """Float64 (..., 2 s^2) to complex128 (..., s, s)."""
    return torch.view_as_complex(pairs(numbers).contiguous())


def numbers_of(block: Tensor) -> Tensor:
    """The inverse of `block_of`: complex (..., s, s) to float64 (..., 2 s^2)."""
    return torch.view_as_real(block.to(torch.complex128)).flatten(-3)
