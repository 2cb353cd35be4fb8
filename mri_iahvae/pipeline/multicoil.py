"""A multi-coil volume: inference and data steps of the coils in turn, and the coil images combined.

The model knows single images. Inference starts from a virtual coil, whose missing bins are those of the mask. Then
conjugate gradients fit the image to the measured bins of all coils (SENSE), the inferred image being their prior. The
sensitivities determine some of the missing bins: with those as data inference completes the image again, and so on.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import DataConsistency, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, recentre
from mri_iahvae.kspace.coils import Sense, combine, rss, virtual_coil
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.kspace.sensitivities import Coils, calibrate
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.arrays import LOUDEST, checked_arrays, power_of_two
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.steps import Progress
from mri_iahvae.pipeline.volume import (
    Reconstruction,
    bin_fractions,
    make_batches,
    reconstruct_volume,
)

CoilCombine = Literal["rss", "sensitivity"]
COIL_COMBINE: tuple[CoilCombine, ...] = get_args(CoilCombine)

_STEPS = 10  # of conjugate gradients
_COVERED = 0.1  # bins of more coverage are data of inference, at first
_ANATOMY = 0.9  # of ESPIRiT's eigenvalue: less is background, whose sensitivities mean nothing
_WRONG = 0.5  # fraction of the energy of missing bins that inference gets wrong
_CALIBRATION = 0.01  # error of the sensitivities, as noise over the slice's RMS
_TINY = torch.finfo(torch.float32).tiny
_INFERENCE = 0.9  # of the time, about


def reconstruct_coils(
    model: IAHVAE,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    settings: InferenceSettings,
    *,
    guide: Guide | None = None,
    coil_combine: CoilCombine = "rss",
    rounds: int = 3,
    domain: Domain | None = None,
    up_to: int | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    acquired: tuple[int, int] | None = None,
    keep_kspace: bool = False,
    batch: int | Batches | None = None,
    first: int = 0,
    progress: Progress = lambda _: None,
) -> Reconstruction:
    """Reconstruct a multi-coil volume, or consecutive slices of one.

    Memory grows with slices times coils: of a large volume, give a group of slices at a time.

    Args:
        model: as `load_model` gives it.
        kspace: complex (slices, coils, H, W), any size; DC at (H // 2, W // 2). Noise is taken to be equally strong
            in all coils, and independent.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when all is.
        settings: how; no samples. Data consistency "hard" puts each coil's measured bins back in the end; otherwise
            measured bins are what the last data step makes of them, which weighs them by the noise.
        guide: as in `reconstruct_volume`.
        coil_combine: "rss": root of the sum of squares of the coil images, fastMRI's target; "sensitivity": sum of
            the coil images times the conjugate sensitivities, which gathers less noise.
        rounds: of inference and data step; 0: the virtual coil alone.
        domain: as in `reconstruct_volume`.
        up_to: use the measured bins of block B_s only; all others count as unmeasured.
        noise_sigma: of every coil, per real and imaginary part, in the units of `kspace`: one number or (slices,);
            zero when unknown, the coils then go by an estimate.
        acquired: first column that the scanner acquired, and the first one after the last; the result is zero beyond.
        keep_kspace: return each coil's completed k-space, too.
        batch: slices at a time, as in `reconstruct_volume`.
        first: number of the first of these slices in its volume: what is drawn depends on it.
        progress: called with what was just finished, in slices.

    Returns:
        The combined image, its k-space, and k-space of the zero-filled coil images combined in the same way. The
        magnitude of `image` is the combination asked for, its phase that of the sensitivity-weighted sum: its
        k-space differs from what any coil measured. `fractions` are of the coils' k-space, where sensitivities
        complete what the model does not: zero is left what was never acquired. `steps` are those of the last
        inference. All else is the virtual coil's.

    Raises:
        UsageError: an argument that cannot be, or too few fully measured central lines to find sensitivities from.
        IahvaeError: out of memory with one slice at a time.
    """
    if settings.samples:
        raise UsageError("posterior samples of multi-coil scans do not exist yet: leave the samples out")
    if settings.data_consistency == "none":
        raise UsageError(
            "bins of several coils are never the model's alone: take hard or soft data consistency"
        )
    if coil_combine not in COIL_COMBINE or rounds < 0:
        raise UsageError(
            f"coil combination {coil_combine} in {rounds} rounds: expected one of {', '.join(COIL_COMBINE)}, and "
            "no negative number"
        )
    device = model.gains.device
    values, measured, sigma = checked_arrays(kspace, mask, noise_sigma, coils=True)
    if up_to is not None:
        measured = measured & block_mask(up_to, *measured.shape[1:])
    values = torch.where(measured[:, None], values, 0)
    # Sums of squares of scanner units could leave float32's range.
    unit = power_of_two(values)
    values, sigma = values / unit[:, None, None, None], (sigma / unit).clamp_max(LOUDEST)
    known = measured.clone()  # what was never acquired is zero in the fully sampled scan as well
    if acquired is not None:
        known[..., : acquired[0]] = known[..., acquired[1] :] = True
    batches = make_batches(batch, device)

    def inferred(bins: Tensor, mask: Tensor, noise: Tensor, consistency: DataConsistency) -> Reconstruction:
        return reconstruct_volume(
            model,
            bins.numpy(),
            mask.numpy(),
            replace(settings, data_consistency=consistency),
            guide=guide,
            domain=domain,
            noise_sigma=noise.numpy(),
            acquired=acquired,
            batch=batches,
            first=first,
            progress=lambda part: progress(part * _INFERENCE / max(1, rounds)),
        )

    noise = [
        float(s) or estimate_sigma(y.numpy(), mask.numpy())
        for s, y, mask in zip(sigma, values, measured, strict=True)
    ]
    coils = [
        calibrate(one[None].to(device), mask.to(device), torch.tensor([level], device=device)).to("cpu")
        for one, mask, level in zip(values, measured, noise, strict=True)
    ]
    weights = torch.cat([one.weights for one in coils])
    # Data steps put the data in; what they start from is the model's own.
    virtual = inferred(
        virtual_coil(values, weights),
        measured,
        sigma * torch.linalg.vector_norm(weights, dim=1),
        "none" if rounds else settings.data_consistency,
    )
    images, steps, bounded = torch.from_numpy(virtual.image), virtual.steps, virtual.bounded
    errors = torch.from_numpy(virtual.factors).abs() * _prior_error(model, known)
    reach = model.size if guide is None else max(measured.shape[1:])
    given = zip(values, measured, known, coils, noise, errors, images, strict=True)
    slices = [
        _Slice(one, mask, kept, coil, _weights(one, mask, level, error, image, reach), device)
        for one, mask, kept, coil, level, error, image in given
    ]
    for number in range(rounds):
        better = max(1, number)  # errors fall from round to round, and the coils reach further
        if number:
            covered = torch.stack([one.covered(_COVERED / better) for one in slices])
            found = inferred(fft2c(images), covered, errors / better**0.5, "none")
            images, steps = torch.from_numpy(found.image), found.steps
            bounded = bounded | found.bounded
        pairs = zip(slices, images, strict=True)
        images = torch.stack([one.data_step(image, better * one.weight) for one, image in pairs])
    result, zero_filled = torch.empty_like(images), torch.empty_like(images)
    filled = torch.empty(images.shape, dtype=torch.bool)
    completed = torch.empty_like(values) if keep_kspace else None
    for index, (one, image) in enumerate(zip(slices, images, strict=True)):
        bins = one.bins(image, settings.data_consistency)
        filled[index] = (bins != 0).any(dim=0)
        if completed is not None:
            completed[index] = bins
        result[index] = one.combined(bins, coil_combine)
        zero_filled[index] = one.combined(one.kspace, coil_combine)
        progress(1 - _INFERENCE)
    shown = unit[:, None, None]
    return replace(
        virtual,
        image=(result * shown).numpy(),
        kspace=(fft2c(result) * shown).numpy(),
        zero_filled=(fft2c(zero_filled) * shown).numpy(),
        factors=virtual.factors * unit.numpy(),
        fractions=bin_fractions(measured, filled),
        steps=steps,
        bounded=bounded,
        settings=settings,
        coil_kspace=None if completed is None else (completed * unit[:, None, None, None]).numpy(),
    )


@dataclass(frozen=True)
class _Slice:
    """One slice's data and coils, kept on the CPU.

    Attributes:
        kspace: complex64 (C, H, W), zero where not measured.
        measured: bool (H, W).
        known: bool (H, W), the same and what is zero because it was never acquired.
        coils: of this slice.
        weight: float (H, W), of the prior in the first data step.
        device: that computes.
    """

    kspace: Tensor
    measured: Tensor
    known: Tensor
    coils: Coils
    weight: Tensor
    device: torch.device

    def data_step(self, prior: Tensor, weight: Tensor) -> Tensor:
        """The image between prior and data, complex64 (H, W); `weight` is the prior's, float (H, W)."""
        # Columns take a mask of one row.
        mask = self.known[:1] if bool((self.known == self.known[:1]).all()) else self.known
        sense = Sense(self.coils.sensitivities.to(self.device), mask.to(self.device))
        data, start = self.kspace[None].to(self.device), prior[None].to(self.device)
        return sense.data_step(data, start, weight.to(self.device), _STEPS)[0].cpu()

    def covered(self, least: float) -> Tensor:
        """Measured bins, and those of which the coils cover at least that much: bool (H, W)."""
        anatomy = self.coils.sensitivities * (self.coils.eigenvalue > _ANATOMY)[:, None]
        coverage = Sense(anatomy.to(self.device), self.known.to(self.device)).coverage()[0].cpu()
        return self.known | (coverage > least)

    def bins(self, image: Tensor, data_consistency: DataConsistency) -> Tensor:
        """K-space of the coil images, complex64 (C, H, W)."""
        kept = self.known if data_consistency == "hard" else self.known & ~self.measured
        return torch.where(kept, self.kspace, fft2c(self.coils.sensitivities[0] * image))

    def combined(self, kspace: Tensor, how: CoilCombine) -> Tensor:
        """The coil images as one, complex64 (H, W)."""
        images = ifft2c(kspace)[None]
        weighted = combine(images, self.coils.sensitivities)[0]
        return weighted if how == "sensitivity" else torch.polar(rss(images)[0], weighted.angle())


def _prior_error(model: IAHVAE, known: Tensor) -> Tensor:
    """Standard deviation per part by which inferred bins are wrong, canonical units, mean over the grid: (slices,)."""
    missing = torch.where(recentre(known, model.size), 0, model.power.cpu()).mean(dim=(1, 2))
    return (model.config.sigma**2 + _WRONG * missing / 2).sqrt()


def _weights(
    kspace: Tensor, measured: Tensor, noise_sigma: float, error: Tensor, image: Tensor, grid: int
) -> Tensor:
    """What a data step gives the prior, float32 (H, W): noise variance over the variance of the prior's error.

    Beyond the model's grid the prior is zero without a guide, and wrong by the signal there.

    Args:
        kspace: complex64 (C, H, W), zero where not measured.
        measured: bool (H, W).
        noise_sigma: of every coil, per part.
        error: float (), of the prior on its grid, per part.
        image: complex64 (H, W), a first estimate.
        grid: side of the centred block that the prior completes.
    """
    variance = noise_sigma**2 + _CALIBRATION**2 * float(image.abs().square().mean())
    inside = block_mask(grid, *measured.shape)
    outer = kspace[:, measured & ~inside].abs().square().sum(dim=0).mean() / 2 - len(kspace) * noise_sigma**2
    # At most 1: a half of what is measured then stays, and conjugate gradients converge as soon.
    beyond = variance / max(float(outer), variance, _TINY) if outer.isfinite() else 1.0
    return torch.where(inside, variance / max(float(error) ** 2, _TINY), beyond)
