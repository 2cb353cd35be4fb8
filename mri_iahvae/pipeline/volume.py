"""Inference of one volume: scanner units to canonical form, the scale loop in batches, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.core import complete_core
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.guidance import estimate as guided
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.series import Belief, Frames, predictions, update
from mri_iahvae.inference.settings import CORED, GUIDED, LADDERLESS, InferenceSettings
from mri_iahvae.inference.uncertainty import expected_error, magnitude_deviation
from mri_iahvae.kspace.bands import block_mask, recentre
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.arrays import LOUDEST, checked_arrays, power_of_two
from mri_iahvae.pipeline.batches import Batches, make_batches
from mri_iahvae.pipeline.out_of_distribution import aspect_scores, volume_score
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.steps import Progress, guide_calls, guide_part, reported, scale_calls
from mri_iahvae.pipeline.volume_warnings import volume_warnings


def reconstruct_volume(
    model: IAHVAE,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    settings: InferenceSettings,
    *,
    guide: Guide | None = None,
    coarse: CoarsePrior | None = None,
    domain: Domain | None = None,
    up_to: int | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    acquired: tuple[int, int] | None = None,
    keep_samples: bool = False,
    batch: int | Batches | None = None,
    first: int = 0,
    progress: Progress = lambda _: None,
) -> Reconstruction:
    """Reconstruct a volume, or consecutive slices of one.

    Args:
        model: as `load_model` gives it.
        kspace: complex (slices, H, W), any size; DC at (H // 2, W // 2). The central N x N bins are the model's
            grid (a smaller array is zero-padded); bins beyond are the guide's, or without one kept as measured.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when all is.
        settings: how.
        guide: as `load_guide` gives it; None for a model without one.
        coarse: as `load_coarse` gives it: completes B_8 without a guide; None for a model without one.
        domain: what the model knows, to warn of volumes that lie outside; None where the checkpoint does not say.
        up_to: use the measured bins of block B_s only; all others count as unmeasured.
        noise_sigma: per real and imaginary part, in the units of `kspace`: one number or (slices,); zero when
            unmeasured.
        acquired: first column of `kspace` that the scanner acquired, and the first one after the last; the result
            is zero beyond, as the image of the fully sampled scan is. None: all.
        keep_samples: return every posterior sample, not only their mean and standard deviation.
        batch: slices (or posterior samples of slices) at a time; halved when memory runs out. None: what suits
            the device.
        first: number of the first of these slices in its volume: what is drawn depends on it.
        progress: called with what was just finished, in slices.

    Returns:
        The reconstruction. Slices without signal within the model's grid stay zero; slices of which nothing is
        measured there become a sample from the prior; both with a warning.

    Raises:
        UsageError: an array of the wrong shape, values that are not finite, no slices at a time, no samples
            to keep, or no guide for the method "guide".
        IahvaeError: out of memory with one slice at a time.
    """
    device = model.gains.device
    batches = make_batches(batch, device)
    if keep_samples and not settings.samples:
        raise UsageError("keep_samples needs samples")
    values, wanted, sigma = checked_arrays(kspace, mask, noise_sigma)
    size = values.shape[-2:]
    if up_to is not None:
        wanted = wanted & block_mask(up_to, *size)
    measured = torch.where(wanted, values, 0)
    central = block_mask(model.size, *size)
    unmeasured = ~wanted[:, central].any(dim=1)
    zero_signal = ~unmeasured & ~(measured[:, central] != 0).any(dim=1)

    guide = _used_guide(guide, settings)
    score = volume_score(model, domain, measured, wanted, sigma, batches)
    padding = torch.zeros(size[1], dtype=torch.bool)
    if acquired is not None:
        padding[: acquired[0]] = padding[acquired[1] :] = True
    unit = power_of_two(measured)
    if settings.series:  # frames are compared
        unit = unit.amax().expand_as(unit)
    scaled = measured / unit[:, None, None], wanted, (sigma / unit).clamp_max(LOUDEST)
    core = coarse if guide is None and settings.method in CORED else None
    task = _Task(model, guide, core, settings, *scaled, unmeasured, padding, first, progress)
    modelled = (central if guide is None else torch.ones_like(central)) & ~padding
    count = max(1, settings.samples)
    result, expected = measured.clone(), torch.zeros(values.shape)
    factors = torch.ones(len(values), dtype=torch.complex64)
    steps, bounded = torch.zeros(len(values), len(model.scales)).double(), torch.zeros(len(values)).bool()
    std = torch.zeros(values.shape) if count > 1 else None
    samples = torch.zeros(len(values), count, *size, dtype=torch.complex64) if keep_samples else None
    # Slices whose samples are held at a time; of a series, which is estimated as a whole, all.
    group = len(values) if settings.series else max(1, batches.size // count)
    for start in range(0, len(values), group):
        chosen = slice(start, min(start + group, len(values)))
        bins, factors[chosen], steps[chosen], bounded[chosen], expected[chosen], stated = task.infer(
            range(len(values))[chosen], batches
        )
        bins, factors[chosen] = bins * unit[chosen, None, None, None], factors[chosen] * unit[chosen]
        held = zero_signal[chosen, None, None, None]
        here, outer = wanted[chosen, None], measured[chosen, None]
        bins = torch.where(modelled & ~held, bins, outer)
        mean = bins.mean(dim=1)
        if settings.data_consistency == "hard":  # exactly, not up to the rounding of divisions and means
            bins, mean = torch.where(here, outer, bins), torch.where(wanted[chosen], measured[chosen], mean)
        result[chosen] = mean
        if std is not None or samples is not None:
            images = ifft2c(bins)
            if std is not None:
                stated = torch.where(held[:, 0], 0, stated * unit[chosen, None, None])
                std[chosen] = torch.where(stated.isnan(), deviation(images.abs()), stated)
            if samples is not None:
                samples[chosen] = images
    beyond = aspect_scores(domain, measured, wanted, sigma, result)
    return Reconstruction(
        image=ifft2c(result).numpy(),
        kspace=result.numpy(),
        zero_filled=measured.numpy(),
        factors=factors.numpy(),
        out_of_distribution=score,
        beyond_training=beyond,
        fractions=bin_fractions(wanted, modelled & ~zero_signal[:, None, None]),
        steps=steps.mean(dim=0).numpy(),
        settings=settings,
        zero_signal=zero_signal.numpy(),
        unmeasured=unmeasured.numpy(),
        bounded=bounded.numpy(),
        std=None if std is None else std.numpy(),
        expected_error=None if guide is None else (expected * unit[:, None, None]).numpy(),
        samples=None if samples is None else samples.numpy(),
        warnings=volume_warnings(
            model.size,
            zero_signal.numpy(),
            unmeasured.numpy(),
            bounded.numpy(),
            score,
            beyond,
            domain=domain,
            batches=batches,
            settings=settings,
        ),
    )


@dataclass(frozen=True)
class _Task:
    """Slices that wait for inference."""

    model: IAHVAE
    guide: Guide | None
    coarse: CoarsePrior | None
    settings: InferenceSettings
    kspace: Tensor
    mask: Tensor
    sigma: Tensor
    unmeasured: Tensor
    padding: Tensor
    first: int
    progress: Progress

    def infer(self, chosen: range, batches: Batches) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Bins of some slices (n, K, H, W) in their own units, canonical factors (n,), steps (n, S), which of them
        were bounded (n,), and (n, H, W) in the same units the guide's expected error, and the deviation of the
        magnitude of the samples drawn from it, NaN where they are not.

        Where the guide says something, samples are the estimate less draws of the guide's error, and inferred once. The
        others are inferred one by one from perturbed data.
        """
        model, count = self.model, max(1, self.settings.samples)
        size, scales = self.kspace.shape[-2:], len(model.scales)
        estimates, dropped = self._estimates(chosen, batches)
        if self.settings.series:
            estimates = self._smoothed(estimates, batches)
        unmeasured = self.unmeasured[chosen.start : chosen.stop]
        apart = unmeasured | dropped if self.guide is not None else torch.ones(len(chosen), dtype=torch.bool)
        elements = [
            # Where nothing is measured a sample is drawn even if none is asked for: the prior mean is nearly empty.
            Element(number, k if apart[i] and (self.settings.samples or unmeasured[i]) else None)
            for i, number in enumerate(range(self.first + chosen.start, self.first + chosen.stop))
            for k in range(count if apart[i] else 1)
        ]
        owner = torch.tensor([element.slice - self.first - chosen.start for element in elements])
        bins = torch.empty(len(elements), *size, dtype=torch.complex64)
        factors = torch.empty(len(chosen), dtype=torch.complex64)
        steps = torch.zeros(len(chosen), scales, dtype=torch.float64)
        bounded = dropped.clone()

        def work(rng: slice) -> None:
            own = owner[rng]
            estimate = Estimate(*(part[own] for part in estimates))
            part = (1 - self._guide_part) * len(chosen) * len(own) / len(elements)
            with reported(*scale_calls(self.model), part, self.progress):
                bins[rng], factors[own], made, hit = self._inferred(
                    tuple(elements[rng]), own + chosen.start, estimate
                )
            steps.index_add_(0, own, made / torch.bincount(owner)[own, None])
            bounded[own[hit]] = True

        batches.run(work, len(elements))
        found = torch.stack([bins[owner == i].expand(count, *size) for i in range(len(chosen))])
        if self.settings.samples and not apart.all():
            for i in torch.nonzero(~apart).flatten().tolist():
                number = self.first + chosen.start + i
                draws = self._draws([Element(number, k) for k in range(count)])
                estimate = Estimate(*(part[i : i + 1] for part in estimates))
                found[i] -= estimate.draw(draws.noise(size))
        here = slice(chosen.start, chosen.stop)
        deviation = torch.where(apart[:, None, None], torch.nan, self._deviation(here, estimates))
        return found, factors, steps, bounded, self._expected_error(here, estimates), deviation

    def _expected_error(self, chosen: slice, estimate: Estimate) -> Tensor:
        if self.settings.data_consistency == "hard":  # measured bins keep their noise
            noise = self.sigma[chosen, None, None].square()
            estimate = estimate._replace(variance=torch.where(self.mask[chosen], noise, estimate.variance))
        return expected_error(estimate)

    def _deviation(self, chosen: slice, estimate: Estimate) -> Tensor:
        """In closed form: that of a few draws would be uncertain itself."""
        kept = self.padding
        if self.settings.data_consistency == "hard":
            kept = kept | self.mask[chosen]
        drawn = estimate._replace(variance=torch.where(kept, 0, estimate.variance))
        return self.settings.temperature * magnitude_deviation(drawn)

    def _smoothed(self, estimates: Estimate, batches: Batches) -> Estimate:
        """Estimates of all frames of a series, each from all."""
        guide, settings = self.guide, self.settings
        assert guide is not None  # noqa: S101 - refused before
        known = self.kspace, self.mask | self.padding, self.sigma, estimates.kspace, estimates.variance
        frames = Frames(*(part.to(self.model.gains.device) for part in known))
        count, parts, steps = len(self.kspace), [], list(guide.steps)
        costs = [1.0] * (2 * count * len(steps) + 1)
        with reported(steps, costs, self._guide_part * count / 2, self.progress):
            predicted = predictions(guide, frames, settings.precision)

            def work(rng: slice) -> None:
                given = frames.at(rng), Belief(*(part[rng] for part in predicted))
                parts.append(update(guide, *given, settings.precision, settings.symmetries))

            batches.run(work, count)
        bins, variance = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return Estimate(bins, variance, estimates.spread)

    @property
    def _guide_part(self) -> float:
        if self.guide is None:
            return 0.0
        return guide_part(self.settings, prod(self.kspace.shape[-2:]) / self.model.size**2)

    def _draws(self, elements: Sequence[Element]) -> Draws:
        return Draws(self.settings.seed, self.settings.temperature, tuple(elements), torch.device("cpu"))

    def _inferred(
        self, elements: tuple[Element, ...], numbers: Tensor, estimate: Estimate
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bins of batch elements (B, H, W), their canonical factors (B,), steps (B, S), and whether bounded (B,)."""
        model, size = self.model, self.kspace.shape[-2:]
        device = model.gains.device
        data, mask = (recentre(part[numbers], model.size).to(device) for part in (self.kspace, self.mask))
        factor = canonical_factor(data, mask, model.power)
        unit = factor[:, None, None]
        if self.settings.method in LADDERLESS:
            none = torch.zeros(len(elements), len(model.scales), dtype=torch.float64)
            return estimate.kspace, factor.cpu(), none, torch.zeros(len(elements), dtype=torch.bool)
        sigma = (self.sigma[numbers].to(device) / factor.abs()).clamp_max(LOUDEST)
        measured = Measurement.of(data / unit, mask, sigma, model.decomposition)
        if self.guide is not None:
            # Of bins of the grid that the scan does not have, nothing is known.
            scanned = recentre(torch.ones(size, dtype=torch.bool), model.size)
            variance = torch.where(scanned, recentre(estimate.variance, model.size), torch.inf).to(device)
            variance = variance / unit.abs().square()
            variance = torch.where(variance.isfinite(), variance.clamp_max(LOUDEST**2), torch.inf)
            values = recentre(estimate.kspace, model.size).to(device) / unit
            measured = replace(measured, estimate=Estimate.even(values, variance))
        draws = replace(self._draws(elements), device=device)
        if self.coarse is not None:
            measured, completed = complete_core(self.coarse, measured, model.power, draws)
            factor = factor * completed
            unit = factor[:, None, None]
        found = infer(model, measured, self.settings, draws)
        inner = block_mask(model.size, *size)
        bins = torch.where(inner, recentre((found.bins * unit).cpu(), *size), estimate.kspace)
        return bins, factor.cpu(), found.steps.cpu().double(), found.bounded.cpu()

    def _estimates(self, chosen: range, batches: Batches) -> tuple[Estimate, Tensor]:
        """Of some slices on the scan's own grid, and which of them were out of the guide's bounds (n,)."""
        device = self.model.gains.device
        parts: list[tuple[Tensor, ...]] = []

        def work(rng: slice) -> None:
            one = chosen[rng]
            where = slice(one.start, one.stop)
            kspace, mask, sigma = (part[where].to(device) for part in (self.kspace, self.mask, self.sigma))
            if self.guide is None:
                found = Estimate.of_data(kspace, mask, sigma)
                out = torch.zeros(len(one), dtype=torch.bool)
            else:  # zeros beyond what was acquired are no missing bins
                known = mask | self.padding.to(device)
                how = self.settings.precision, self.settings.symmetries
                part = self._guide_part * len(one) / (1 + self.settings.series)
                with reported(*guide_calls(self.guide, self.settings), part, self.progress):
                    found, out = guided(self.guide, kspace, known, sigma, *how)
            parts.append((*(part.cpu() for part in found), out.cpu()))

        batches.run(work, len(chosen))
        kspace, variance, spread, out = (torch.cat(part) for part in zip(*parts, strict=True))
        variance[self.unmeasured[chosen.start : chosen.stop]] = torch.inf
        return Estimate(kspace, variance, spread), out


def _used_guide(guide: Guide | None, settings: InferenceSettings) -> Guide | None:
    """The guide, if the settings use one."""
    if guide is None and settings.method in LADDERLESS:
        raise UsageError(f"method {settings.method}: the checkpoint has no guide; take another method")
    if guide is None and settings.series:
        raise UsageError("series: the checkpoint has no guide, which a series needs; take another checkpoint")
    return guide if settings.method in GUIDED else None


def deviation(samples: Tensor) -> Tensor:
    """Standard deviation over antithetic pairs of samples, (n, K, ...) to (n, ...).

    The draws of a pair cancel in the mean, which therefore costs no degree of freedom; an odd last one does not.
    """
    count = samples.shape[1]
    # float64: squares of scanner units can leave float32's range.
    squares = (samples - samples.mean(dim=1, keepdim=True)).double().square().sum(dim=1)
    return (squares / (count - count % 2 / count)).sqrt().float()


def bin_fractions(mask: Tensor, filled: Tensor) -> dict[str, float]:
    """Fractions of the output's bins that were measured, completed and left zero.

    Args:
        mask: bool, true where measured.
        filled: bool, true where the output holds something, measured or not; broadcasts with `mask`.
    """
    fractions = {
        "measured": mask.float().mean(),
        "completed": (~mask & filled).float().mean(),
        "zero": (~mask & ~filled).float().mean(),
    }
    return {name: float(fraction) for name, fraction in fractions.items()}
