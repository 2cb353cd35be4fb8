"""What a model knows: how well it explains the coarse bands of slices like those it was trained on.

The statistic is the residual of the amortized reconstruction, per band, where the block B_s is measured as a whole.
A scale-causal encoder sees nothing else of a slice, so the residual depends neither on the rest of the mask nor on how
the slice is then reconstructed, and costs a few evaluations of the cheapest layers. Strange images, in particular
smooth ones, can fit well at fine scales, where little is expected; at coarse ones they do not.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from mri_iahvae.errors import CheckpointError, reason
from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.model.iahvae import IAHVAE, add_band

JUDGED = (4, 8, 16)
"""Scales that are looked at: canonical form fixes most of the coarser ones, and a grid has at least 16."""

_LIMIT = 0.99  # quantile of held-back slices


@dataclass(frozen=True)
class Domain:
    """The slices that a model knows.

    Attributes:
        description: anatomy and contrasts, in words.
        slices: number of held-back slices, augmented as in training, that the rest was measured on.
        mean: of the log residual at each judged scale (`log_residuals`).
        deviation: standard deviation of the same.
        limit: at each judged scale, of the mean excess of the scales up to it: the 99 % quantile.
    """

    description: str
    slices: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    limit: tuple[float, ...]

    @classmethod
    def measure(cls, model: IAHVAE, kspace: Tensor, description: str) -> Self:
        """The domain of a model whose encoder is scale-causal.

        Args:
            model: in evaluation mode.
            kspace: complex (B, N, N), fully sampled, in any units, no slice all zero, B at least 2.
            description: anatomy and contrasts, in words.
        """
        everything = torch.ones(1, 1, 1, dtype=torch.bool, device=kspace.device)
        found = log_residuals(
            model, kspace / canonical_factor(kspace, everything, model.power)[:, None, None]
        )
        least = torch.finfo(torch.float32).eps
        mean, deviation = found.mean(dim=0), found.std(dim=0).clamp_min(least)
        limit = _running_mean((found - mean) / deviation).quantile(_LIMIT, dim=0).clamp_min(least)
        return cls(
            _one_line(description), len(kspace), *(tuple(v.tolist()) for v in (mean, deviation, limit))
        )

    def fit(self, model: IAHVAE, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Tensor:
        """How far each slice is from what the model knows: above 1 it lies outside.

        The excess of a residual is its distance from the domain's mean, in standard deviations. Excesses are averaged
        over the judged scales up to 8 and up to 16, and the larger average, in units of its limit, counts: few bins
        say little, but what is strange at scale 8 must not drown in what fits at 16, nor noise in what fits at 8.
        Blocks that are not measured as a whole are left out; scale 4 alone counts only where B_8 is left out.

        Args:
            model: that this domain belongs to.
            kspace: complex (B, N, N), in any units; values at unmeasured bins are ignored.
            mask: bool (B, N, N), true where measured.
            noise_sigma: float (B,), noise per real and imaginary part, in the units of `kspace`; zero where unknown.

        Returns:
            float32 (B,), about 0 on average; NaN where B_4 is not measured as a whole, or all is zero.
        """
        factor = canonical_factor(kspace, mask, model.power)
        measured = torch.where(mask, kspace / factor[:, None, None], 0)
        found = log_residuals(model, measured)
        mean, deviation, limit = (found.new_tensor(v) for v in (self.mean, self.deviation, self.limit))
        noise = 2 * (noise_sigma / factor.abs()).square()[:, None] / _judged_gains(model).square()
        expected = torch.logaddexp(mean, noise.log())  # what the noise adds is no strangeness
        fits = _running_mean((found - expected) / deviation) / limit
        whole = torch.stack([crop(mask, s).all(dim=(1, 2)) for s in JUDGED], dim=1)
        defined = whole[:, 0] & measured.ne(0).any(dim=(1, 2))
        counted = torch.cat([~whole[:, 1:2], whole[:, 1:]], dim=1)
        fit = torch.where(counted, fits, -math.inf).amax(dim=1)
        return torch.where(defined, fit, math.nan)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and text."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Self:  # noqa: ANN401 - whatever a file holds
        """The inverse of `to_json`.

        Raises:
            CheckpointError: a key is unknown or missing, or a value is of the wrong kind.
        """
        try:
            if set(values) != {field.name for field in fields(cls)}:
                raise ValueError(f"expected the keys {', '.join(field.name for field in fields(cls))}")
            numbers = {key: tuple(float(v) for v in values[key]) for key in ("mean", "deviation", "limit")}
            finite = all(len(row) == len(JUDGED) and all(map(math.isfinite, row)) for row in numbers.values())
            if not finite or min(*numbers["deviation"], *numbers["limit"]) <= 0:
                raise ValueError(f"expected {len(JUDGED)} finite numbers each, deviation and limit positive")
            return cls(_one_line(str(values["description"])), int(values["slices"]), **numbers)
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"the domain is malformed ({reason(error)})") from None


@torch.no_grad()
def log_residuals(model: IAHVAE, kspace: Tensor) -> Tensor:
    """Log of the mean squared error per bin of the amortized reconstruction, over the square of the band's gain.

    Args:
        model: with a scale-causal encoder, on a grid of at least 16 x 16.
        kspace: complex64 (B, N, N), canonical; nothing beyond B_16 is looked at.

    Returns:
        float32 (B, judged scales).
    """
    h = features = None
    seen = kspace.new_zeros(kspace.shape[0], 0, 0)
    errors = []
    for index, s in enumerate(scales(JUDGED[-1])):
        band = crop(kspace, s) * band_mask(s, kspace.device)
        context = model.context(index, h, seen)
        seen = add_band(seen, band)
        features = model.encode(index, seen, features)
        h, _, _, _ = model.amortize(index, context, features)
        if s in JUDGED:
            error = (model.band(index, h) - band).abs().square().sum(dim=(1, 2))
            errors.append(error / band_mask(s, kspace.device).sum())
    residuals = torch.stack(errors, dim=1) / _judged_gains(model).square()
    return residuals.clamp_min(torch.finfo(torch.float32).tiny).log()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _running_mean(excess: Tensor) -> Tensor:
    """Mean over the judged scales up to each: (B, judged scales) to the same."""
    return excess.cumsum(dim=1) / torch.arange(1, excess.shape[1] + 1, device=excess.device)


def _judged_gains(model: IAHVAE) -> Tensor:
    return model.gains[[s.bit_length() - 1 for s in JUDGED]]
