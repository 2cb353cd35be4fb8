"""What a model knows: how well it explains the coarse bands of its training's slices, and what texture they have.

The residual of the amortized reconstruction is taken per band, where the block B_s is measured as a whole. A
scale-causal encoder sees nothing else of a slice, so the residual depends neither on the rest of the mask nor on how
the slice is then reconstructed, and costs a few evaluations of the cheapest layers. Strange images, in particular
smooth ones, can fit well at fine scales, where little is expected; at coarse ones they do not.

The texture (`log_texture`) is judged where the whole grid is measured: a phantom may have the outline and the coarse
bands of a head, but it is flat between its edges, as no anatomy is.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from mri_iahvae.errors import CheckpointError, reason
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.canonical import CORE, canonical_factor
from mri_iahvae.kspace.image_texture import log_texture
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.walk import Walk

JUDGED = (4, 8, 16)
"""Scales that are looked at: canonical form fixes most of the coarser ones, and a grid has at least 16."""

_LIMIT = 0.99  # quantile of held-back slices
_FLAT = 0.005  # likewise, of textures


@dataclass(frozen=True)
class Domain:
    """The slices that a model knows.

    Attributes:
        description: anatomy and contrasts, in words.
        slices: number of held-back slices, augmented as in training, that the rest was measured on.
        mean: of the log residual at each judged scale (`log_residuals`).
        deviation: standard deviation of the same.
        limit: at each judged scale, of the mean excess of the scales up to it: the 99 % quantile.
        texture: mean and 0.5 % quantile of the log texture; None where it was not measured.
    """

    description: str
    slices: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    limit: tuple[float, ...]
    texture: tuple[float, float] | None = None

    @classmethod
    def measure(cls, model: IAHVAE, kspace: Tensor, description: str) -> Self:
        """The domain of a model whose encoder is scale-causal, in evaluation mode.

        Slices are complex (B, N, N), fully sampled, in any units, none all zero, B at least 2.
        """
        everything = torch.ones(1, 1, 1, dtype=torch.bool, device=kspace.device)
        kspace = kspace / canonical_factor(kspace, everything, model.power)[:, None, None]
        found = log_residuals(model, kspace)
        least = torch.finfo(torch.float32).eps
        mean, deviation = found.mean(dim=0), found.std(dim=0).clamp_min(least)
        limit = _running_mean((found - mean) / deviation).quantile(_LIMIT, dim=0).clamp_min(least)
        textures = log_texture(kspace)
        usual = float(textures.mean())
        flat = min(float(textures.quantile(_FLAT)), usual - least)
        rows = [tuple(row.tolist()) for row in (mean, deviation, limit)]
        return cls(_one_line(description), len(kspace), rows[0], rows[1], rows[2], (usual, flat))

    def score(self, model: IAHVAE, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Tensor:
        """How far each slice is from what the model knows: above 1 it lies outside.

        The excess of a residual is its distance from the domain's mean, in standard deviations. Excesses are averaged
        over the judged scales up to 8 and up to 16, and the larger average, in units of its limit, counts: few bins
        say little, but what is strange at scale 8 must not drown in what fits at 16, nor noise in what fits at 8.
        Blocks that are not measured as a whole are left out; scale 4 alone counts only where B_8 is left out. Where the
        whole grid is measured and the texture lies further below its mean than that, in units of its limit, it counts.

        Args:
            model: that this domain belongs to.
            kspace: complex (B, N, N), in any units; values at unmeasured bins are ignored.
            mask: bool (B, N, N), true where measured.
            noise_sigma: float (B,), noise per real and imaginary part, in the units of `kspace`; zero where unknown.

        Returns:
            float32 (B,), about 0 on average; NaN where B_4 is not measured as a whole, or B_8 is all zero.
        """
        core = block_mask(CORE, model.size, device=mask.device)  # bins beyond set no scale here
        factor = canonical_factor(kspace, mask & core, model.power)
        measured = torch.where(mask, kspace / factor[:, None, None], 0)
        found = log_residuals(model, measured)
        mean, deviation, limit = (found.new_tensor(v) for v in (self.mean, self.deviation, self.limit))
        noise = 2 * (noise_sigma / factor.abs()).square()[:, None] / _judged_gains(model).square()
        expected = torch.logaddexp(mean, noise.log())  # what the noise adds is no strangeness
        fits = _running_mean((found - expected) / deviation) / limit
        whole = torch.stack([crop(mask, s).all(dim=(1, 2)) for s in JUDGED], dim=1)
        defined = whole[:, 0] & (core & measured.ne(0)).any(dim=(1, 2))
        counted = torch.cat([~whole[:, 1:2], whole[:, 1:]], dim=1)
        score = torch.where(counted, fits, -math.inf).amax(dim=1)
        if self.texture is not None:
            usual, flat = self.texture
            flatness = (usual - log_texture(measured)) / (usual - flat)
            score = torch.where(mask.all(dim=(1, 2)), score.maximum(flatness), score)
        return torch.where(defined, score, math.nan)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Self:  # noqa: ANN401 - whatever a file holds
        """The inverse of `to_json`.

        Raises:
            CheckpointError: a key is unknown or missing, or a value is of the wrong kind.
        """
        try:
            keys = [field.name for field in fields(cls)]
            if set(values) | {"texture"} != set(keys):
                raise ValueError(f"expected the keys {', '.join(keys)}")
            count = len(JUDGED)
            mean, deviation, limit = (_numbers(values[key], count) for key in ("mean", "deviation", "limit"))
            if min(*deviation, *limit) <= 0:
                raise ValueError("expected deviation and limit to be positive")
            texture = None
            if values.get("texture") is not None:
                usual, flat = _numbers(values["texture"], 2)
                if flat >= usual:
                    raise ValueError("expected the limit of the texture to be below its mean")
                texture = usual, flat
            description = _one_line(str(values["description"]))
            return cls(description, int(values["slices"]), mean, deviation, limit, texture)
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"the domain is malformed ({reason(error)})") from None


@torch.no_grad()
def log_residuals(model: IAHVAE, kspace: Tensor) -> Tensor:
    """Log of the mean squared error per bin of the amortized reconstruction, over the square of the band's gain.

    Of canonical complex64 (B, N, N) k-space, of which nothing beyond B_16 is looked at: float32 (B, judged scales).
    """
    scales = [scale for scale in model.scales if scale.side <= JUDGED[-1]]
    walk = Walk(model, len(kspace), kspace.device, scales=scales)
    session = model.encoder.begin(kspace, torch.ones_like(kspace, dtype=torch.bool))
    errors = []
    for scale, h in walk:
        ring = model.decomposition.ring(scale.index, kspace.device)
        block = model.decomposition.block(kspace, scale.index)
        band = block * ring
        last = scale.encode(h, session.features(scale, block)).last
        walk.extend(last, band)
        session.extend(scale, block)
        if scale.side in JUDGED:
            errors.append((scale.bins(last) - band).abs().square().sum(dim=(1, 2)) / ring.sum())
    residuals = torch.stack(errors, dim=1) / _judged_gains(model).square()
    return residuals.clamp_min(torch.finfo(torch.float32).tiny).log()


def _numbers(values: Any, count: int) -> tuple[float, ...]:  # noqa: ANN401 - whatever a file holds
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected {count} finite numbers")
    return numbers


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _running_mean(excess: Tensor) -> Tensor:
    """Mean over the judged scales up to each: (B, judged scales) to the same."""
    return excess.cumsum(dim=1) / torch.arange(1, excess.shape[1] + 1, device=excess.device)


def _judged_gains(model: IAHVAE) -> Tensor:
    return model.gains[[s.bit_length() - 1 for s in JUDGED]]
