"""A mixture of Gaussians with full covariances, and what it says of missing or noisy entries: exact formulas.

Bishop, Pattern Recognition and Machine Learning (2006), sections 2.3 and 9.2. All in float64: covariances of k-space
bins span six orders of magnitude.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """The density sum over k of w_k N(x; mu_k, C_k).

    Attributes:
        log_weights: float64 (K,), log w_k.
        means: float64 (K, D).
        covariances: float64 (K, D, D), semi-definite; `log_joint` needs them definite.
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor

    @property
    def mean(self) -> Tensor:
        """Float64 (D,)."""
        return self.log_weights.exp() @ self.means

    def log_joint(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; mu_k, C_k), nats: float64 (B, D) to (B, K)."""
        return self.log_evidence(x, torch.zeros_like(x[0]))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, nats: float64 (B, D) to (B,)."""
        return self.log_joint(x).logsumexp(1)

    def log_evidence(self, y: Tensor, variance: Tensor) -> Tensor:
        """log w_k + log N(y_m; mu_k, C_k + noise) over the measured entries m, nats: float64 (B, K).

        Args:
            y: float64 (B, D), values at missing entries are ignored.
            variance: float64 (D,), of the noise; infinite where an entry is missing.
        """
        m = variance.isfinite()
        covariances = self.covariances[:, m][:, :, m] + torch.diag(variance[m])
        scores = []
        for log_weight, mean, factor in zip(
            self.log_weights, self.means[:, m], torch.linalg.cholesky(covariances), strict=True
        ):
            white = torch.linalg.solve_triangular(factor, (y[:, m] - mean).mT, upper=False)
            scores.append(log_weight - factor.diagonal().log().sum() - white.square().sum(0) / 2)
        return torch.stack(scores, dim=1) - math.log(2 * math.pi) / 2 * m.sum()

    def condition(self, y: Tensor, variance: Tensor) -> "Mixture":
        """The posterior given one measurement, y and variance float64 (D,) as in `log_evidence`: a mixture again."""
        count = len(self.means)
        scores = self.log_evidence(y[None], variance)[0]
        return self.posterior(
            torch.arange(count), y.expand(count, -1), variance.expand(count, -1), scores.log_softmax(0)
        )

    def posterior(self, component: Tensor, y: Tensor, variance: Tensor, log_weights: Tensor) -> "Mixture":
        """The mixture of the posteriors of H hypotheses: mean mu + G (y - mu_m), covariance C - G C_m, G the gain.

        Args:
            component: int64 (H,), number k that each supposes.
            y: float64 (H, D), what was measured by each.
            variance: float64 (H, D), of the noise; infinite at the same, missing entries for all.
            log_weights: float64 (H,), of the hypotheses.
        """
        m = variance[0].isfinite()
        means, covariances = self.means[component], self.covariances[component]
        cross = covariances[:, :, m]
        factor = torch.linalg.cholesky(cross[:, m] + torch.diag_embed(variance[:, m]))
        gain = torch.cholesky_solve(cross.mT, factor).mT
        found = means + (gain @ (y - means)[:, m, None])[..., 0]
        return Mixture(log_weights, found, covariances - gain @ cross.mT)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws from standard normal numbers, float64 (B, 1 + D): the first chooses the component.

        Returns:
            The draws, float64 (B, D), and their components, int64 (B,).
        """
        uniform = torch.special.ndtr(noise[:, 0].contiguous())
        steps = self.log_weights.exp().cumsum(0)
        chosen = torch.searchsorted(steps, uniform * steps[-1]).clamp_max(len(steps) - 1)
        power, axes = torch.linalg.eigh(self.covariances[chosen])
        white = noise[:, 1:] * power.clamp_min(0).sqrt()  # rounding makes zeros negative
        return self.means[chosen] + (axes @ white[..., None])[..., 0], chosen
