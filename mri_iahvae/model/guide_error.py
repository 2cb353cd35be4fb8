"""The error that the guide expects of its estimate: one variance for each octave of k-space, and where in the image.

Both are found from statistics of the last unrolled step, which get no gradient: the heads are fitted afterwards.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.octaves import OCTAVES, octaves, ring_means
from mri_iahvae.model.guide_config import GuideConfig

_LEAST = 1e-8  # power of a bin, in units of the slice, below which all powers look alike
_FAINTEST = 1e-4  # mean square of a feature, likewise
_STATISTICS = 4 * OCTAVES  # beside the conditions
_HIDDEN = 64
_IMAGES = 4  # channels: two complex images


class Evidence(NamedTuple):
    """What the expected error is found from, in units of the slice.

    Attributes:
        unit: float (B,), the slice's (`model.guide.slice_unit`).
        kspace: complex64 (B, H, W), the estimate.
        mask: bool (B, H, W).
        sigma: float (B,), noise per part.
        conditions: float (B, C), noise level and sampling density.
        change: complex64 (B, H, W), what the last step changed.
        misfit: complex64 (B, H, W), the last network's bins less the measured ones.
        features: float (B, widths[0], h, w), of the last step, folded.
    """

    unit: Tensor
    kspace: Tensor
    mask: Tensor
    sigma: Tensor
    conditions: Tensor
    change: Tensor
    misfit: Tensor
    features: Tensor


class GuideError(nn.Module):
    """Variance and spread of the estimate's error.

    Measured bins have one variance per octave, as a fraction of the noise's; missing bins have another.
    """

    calibration: Tensor

    def __init__(self, config: GuideConfig, conditions: int) -> None:
        super().__init__()
        self.config = config
        self.octaves = nn.Sequential(
            nn.Linear(conditions + _STATISTICS + config.widths[0], _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, 2 * OCTAVES),
        )
        folded = config.fold**2
        self.image = nn.Sequential(
            nn.Conv2d(config.widths[0] + _IMAGES * folded, _HIDDEN, 1),
            nn.SiLU(),
            nn.Conv2d(_HIDDEN, 2 * folded, 3, padding=1),  # in phase and in quadrature
        )
        # Factors on the variance of measured and of missing bins, (2, octaves), from slices that were held back.
        self.register_buffer("calibration", torch.ones(2, OCTAVES))

    def forward(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Variance of each bin, float (B, H, W) in units of the slice, and spread (B, 2, H, W): see `Estimate`."""
        ring = octaves(evidence.mask)
        measured, missing = self.variances(self.statistics(evidence), evidence.sigma).unbind(1)
        spread = self.spread(evidence)
        return torch.where(evidence.mask, measured[:, ring], missing[:, ring]), spread

    def statistics(self, evidence: Evidence) -> Tensor:
        """Inputs of `variances`, float (B, conditions + 4 octaves + widths[0]), without gradient."""
        ring, mask = octaves(evidence.mask), evidence.mask
        looked_at = (
            (evidence.change, mask),
            (evidence.change, ~mask),
            (evidence.misfit, mask),
            (evidence.kspace, ~mask),
        )
        powers = [ring_means(_power(bins.detach()), where, ring) for bins, where in looked_at]
        features = evidence.features.detach().float().square().mean(dim=(2, 3))
        return torch.cat(
            [
                evidence.conditions.detach(),
                *(power.clamp_min(_LEAST).log() / 4 + 2 for power in powers),
                features.clamp_min(_FAINTEST).log() / 4,
            ],
            dim=1,
        )

    def variances(self, statistics: Tensor, sigma: Tensor) -> Tensor:
        """Of measured and of missing bins, float (B, 2, octaves) in units of the slice, given sigma (B,) per part."""
        with torch.autocast(sigma.device.type, enabled=False):
            found = self.octaves(statistics).unflatten(1, (2, OCTAVES))
        measured = sigma.square()[:, None] * torch.sigmoid(found[:, 0])
        missing = (2 * found[:, 1] - 4).clamp(-20, 12).exp()
        return torch.stack([measured, missing], dim=1) * self.calibration

    def spread(self, evidence: Evidence) -> Tensor:
        """Relative size of the error over the image, float (B, 2, H, W), as `Estimate` has it."""
        height, width = evidence.mask.shape[-2:]
        multiple = self.config.multiple
        images = [_log_channels(ifft2c(bins.detach())) for bins in (evidence.kspace, evidence.change)]
        pixels = F.pad(torch.cat(images, dim=1), (0, -width % multiple, 0, -height % multiple))
        folded = F.pixel_unshuffle(pixels, self.config.fold)
        with torch.autocast(evidence.mask.device.type, enabled=False):
            found = self.image(torch.cat([evidence.features.detach().float(), folded], dim=1))
        energy = F.pixel_shuffle(found, self.config.fold)[..., :height, :width].clamp(-12, 12).exp()
        return (energy / energy.mean(dim=(1, 2, 3), keepdim=True)).sqrt()


def _power(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).square().mean(-1)


def _log_channels(image: Tensor) -> Tensor:
    """Magnitude and its logarithm, float (B, 2, H, W): errors grow with both."""
    magnitude = image.abs()[:, None]
    return torch.cat([magnitude.clamp_max(10.0), magnitude.clamp_min(1e-4).log() / 4], dim=1)
