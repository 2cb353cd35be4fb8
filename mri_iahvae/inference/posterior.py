"""The encoder's posterior, whitened by the prior: where a refinement starts, and samples without one."""

from torch import Tensor

from mri_iahvae.model.gaussian import Gaussian


def whiten(
    priors: list[Gaussian], posteriors: list[Gaussian], share: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and standard deviation of each layer's posterior, in standard deviations of its prior, about its mean.

    The encoder takes filled holes for measured. Its variance is right for the share of the band that is, the prior's
    (1) for the rest.

    Args:
        priors: of each layer, over (B, latent, r, r).
        posteriors: of each layer.
        share: float (B,), share of the band's bins that is measured.
    """
    share = share[:, None, None, None]
    pairs = list(zip(posteriors, priors, strict=True))
    means = [(q.mean - p.mean) / p.std for q, p in pairs]
    return means, [(share * (q.std / p.std).square() + 1 - share).sqrt() for q, p in pairs]


def perturbed(means: list[Tensor], spread: list[Tensor], draws: list[Tensor]) -> list[Tensor]:
    """Where the minimum of a perturbed problem is expected.

    Where the posterior has variance r^2, a draw from the prior moves that minimum by r^2.
    """
    return [m + r.square() * e for m, r, e in zip(means, spread, draws, strict=True)]


def sampled(start: list[Tensor], spread: list[Tensor], draws: list[Tensor]) -> list[Tensor]:
    """Samples of the encoder's posterior from what `perturbed` gives and from a second draw.

    The rest of the variance, r^2 = r^4 + r^2 (1 - r^2), comes from the data's noise.
    """
    rest = [r * (1 - r.square()).clamp(min=0).sqrt() * e for r, e in zip(spread, draws, strict=True)]
    return [a + b for a, b in zip(start, rest, strict=True)]
