"""The error that the guide states: its heads are fitted to a trained guide, then calibrated on held-out slices."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.octaves import OCTAVES, octaves, ring_means
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_error import Evidence
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_tasks import Measured, random_measurements
from mri_iahvae.training.slices import CachedSlices, SliceSource

_BATCH = 8
_CALIBRATED = 2048  # measurements that they are calibrated on, at most
_REPEATED = 8  # measurements of each held-out slice, at most
_STEPS = 3000  # of the octaves' head, on what was found of all measurements, at most
_CHOSEN = 256  # measurements of each of those steps
_RATE = 2e-3
_LEAST = 1e-10  # variance in units of the slice, below which all errors look alike


FITTED = 4096
"""Measurements that the heads are fitted to."""


class Errors(NamedTuple):
    """Squared errors of some measurements per part, in units of the slice.

    Attributes:
        statistics: float (B, ...), inputs of the octaves' head.
        sigma: float (B,), noise per part.
        power: float (B, 2, octaves), mean over the measured bins of each octave, and over the missing ones.
        counted: bool (B, 2, octaves), where there are such bins, and they are not exact.
    """

    statistics: Tensor
    sigma: Tensor
    power: Tensor
    counted: Tensor


def fit_error(
    guide: Guide,
    slices: SliceSource,
    held_out: SliceSource,
    device: torch.device,
    seed: int = 0,
    *,
    count: int,
) -> None:
    """Fit the heads of `Guide.error` to the errors that the guide makes, all else fixed, and calibrate the variance.

    The guide is in evaluation mode and changed in place. The heads are fitted to `count` measurements of the slices
    that it was trained on; the held-out ones are others.
    """
    guide.to(device).requires_grad_(requires_grad=False)
    torch.manual_seed(seed)
    fit = _Fit(guide.error.image, math.ceil(count / _BATCH), decay=1e-2)
    found = []
    for evidence, task in _measurements(guide, slices, device, seed, count):
        error = _error(evidence, task)
        fit.step(_spread_loss(guide, evidence, error))
        found.append(_errors(guide, evidence, error))
    guide.error.calibration.fill_(1.0)
    _fit_octaves(guide, Errors(*(torch.cat(part) for part in zip(*found, strict=True))))
    calibrate_error(guide, held_out, device, seed + 1)


@torch.no_grad()
def calibrate_error(guide: Guide, held_out: SliceSource, device: torch.device, seed: int = 0) -> None:
    """Set the calibration: of each octave the squared errors become what is stated, in the geometric mean.

    Half of the measurements then have larger errors, half smaller ones. An arithmetic mean would follow the few whose
    errors are largest. Arguments as in `fit_error`.
    """
    guide.to(device).error.calibration.fill_(1.0)
    total, count = torch.zeros(2, 2, OCTAVES, dtype=torch.float64, device=device)
    most = min(_CALIBRATED, _REPEATED * len(held_out))
    for evidence, task in _measurements(guide, held_out, device, seed, most):
        errors = _errors(guide, evidence, _error(evidence, task))
        ratio = log_ratio(guide.error.variances(errors.statistics, errors.sigma), errors)
        total += ratio.double().sum(0)
        count += errors.counted.sum(0)
    guide.error.calibration.copy_((total / count.clamp_min(1)).exp())


def _measurements(
    guide: Guide, source: SliceSource, device: torch.device, seed: int, count: int
) -> Iterator[tuple[Evidence, Measured]]:
    """Random measurements of random slices, and what the guide finds in them."""
    slices, generator = CachedSlices(source), torch.Generator(device).manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    for _ in range(0, count, _BATCH):
        chosen = torch.randint(len(slices), (_BATCH,), generator=order).tolist()
        kspace = slices.stack(chosen).to(device)
        task = random_measurements(varied(kspace, generator, resampled=0.0).abs(), generator)
        with torch.no_grad():
            evidence = guide.look(task.kspace, task.mask, task.sigma)
        yield evidence, task


def _error(evidence: Evidence, task: Measured) -> Tensor:
    return evidence.kspace - task.truth / evidence.unit[:, None, None]


def _errors(guide: Guide, evidence: Evidence, error: Tensor) -> Errors:
    ring, mask = octaves(evidence.mask), evidence.mask
    squares = torch.view_as_real(error).square().mean(-1)
    power = torch.stack([ring_means(squares, where, ring) for where in (mask, ~mask)], dim=1)
    exact = evidence.sigma[:, None] == 0
    present = torch.stack([ring_means(w.float(), torch.ones_like(w), ring) > 0 for w in (mask, ~mask)], dim=1)
    present[:, 0] &= ~exact
    return Errors(guide.error.statistics(evidence), evidence.sigma, power, present & (power > _LEAST))


class _Fit:
    """A head that learns at a falling rate."""

    def __init__(self, head: nn.Module, steps: int, decay: float) -> None:
        self.parameters = list(head.requires_grad_().parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=_RATE, weight_decay=decay)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()


def _spread_loss(guide: Guide, evidence: Evidence, error: Tensor) -> Tensor:
    """Negative log likelihood of the errors of the pixels, the octaves' energies being right."""
    ring, squares = octaves(evidence.mask), torch.view_as_real(error).square().mean(-1)
    power = [ring_means(squares, where, ring)[:, ring] for where in (evidence.mask, ~evidence.mask)]
    variance = torch.where(evidence.mask, power[0], power[1])
    estimate = Estimate(evidence.kspace, variance, guide.error.spread(evidence))
    return pixel_likelihood(estimate, error).mean()


def pixel_likelihood(estimate: Estimate, error: Tensor) -> Tensor:
    """Negative log likelihood of the pixels of an error, complex64 (B, H, W): (B,), up to a constant and a factor."""
    pixels = torch.view_as_real(ifft2c(error) * estimate.phase().conj()).movedim(-1, 1)
    variance = estimate.pixel_variance() + _LEAST
    return (variance.log() + pixels.square() / variance).mean(dim=(1, 2, 3))


def log_ratio(variance: Tensor, errors: Errors) -> Tensor:
    """Log of the squared errors over the variance, both (B, 2, octaves); zero for octaves that do not count."""
    stated = torch.where(errors.counted, variance, 1)
    made = torch.where(errors.counted, errors.power, 1)
    return made.log() - stated.log()


def _fit_octaves(guide: Guide, errors: Errors) -> None:
    """Least squares of the log ratio: by likelihood the few measurements with the largest errors would decide."""
    steps = min(_STEPS, len(errors.sigma))
    fit = _Fit(guide.error.octaves, steps, decay=1e-3)
    for _ in range(steps):
        chosen = torch.randint(len(errors.sigma), (_CHOSEN,), device=errors.sigma.device)
        some = Errors(*(part[chosen] for part in errors))
        ratio = log_ratio(guide.error.variances(some.statistics, some.sigma), some)
        fit.step(ratio.square().sum() / some.counted.sum())
    guide.requires_grad_(requires_grad=False)
