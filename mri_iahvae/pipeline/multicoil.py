"""A multi-coil volume: the guide with the coils' own data consistency, and the coil images combined."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.guidance import estimate_combined
from mri_iahvae.inference.settings import GUIDED, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, recentre
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.coils import Sense, combine, rss, virtual_coil
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.kspace.sensitivities import Coils, calibrate
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.arrays import LOUDEST, checked_arrays, power_of_two
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.out_of_distribution import (
    aspect_scores,
    aspect_warnings,
    domain_warnings,
    volume_score,
)
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.steps import Progress, guide_calls, reported
from mri_iahvae.pipeline.volume import bin_fractions, make_batches
from mri_iahvae.pipeline.volume_warnings import volume_warnings

CoilCombine = Literal["rss", "sensitivity"]
COIL_COMBINE: tuple[CoilCombine, ...] = get_args(CoilCombine)


def reconstruct_coils(
    model: IAHVAE,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    settings: InferenceSettings,
    *,
    guide: Guide | None,
    coil_combine: CoilCombine = "rss",
    domain: Domain | None = None,
    up_to: int | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    acquired: tuple[int, int] | None = None,
    keep_kspace: bool = False,
    batch: int | Batches | None = None,
    progress: Progress = lambda _: None,
) -> Reconstruction:
    """Reconstruct a multi-coil volume, or consecutive slices of one.

    The sensitivities come from the calibration region. The guide estimates the image that all coils measured
    (`model.guide.Guide.combine`); the hierarchy, whose prior is of single images, is not used.

    Memory grows with slices times coils: of a large volume, give a group of slices at a time.

    Args:
        model: as `load_model` gives it.
        kspace: complex (slices, coils, H, W), any size; DC at (H // 2, W // 2). Noise is taken to be equally strong
            in all coils, and independent.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when all is.
        settings: how; no samples. Data consistency "hard" puts each coil's measured bins back in the end; otherwise
            they are the estimate's, which weighs them by the noise.
        guide: as `load_guide` gives it.
        coil_combine: "rss": root of the sum of squares of the coil images, fastMRI's target; "sensitivity": sum of
            the coil images times the conjugate sensitivities, which gathers less noise.
        domain: as in `reconstruct_volume`.
        up_to: use the measured bins of block B_s only; all others count as unmeasured.
        noise_sigma: of every coil, per real and imaginary part, in the units of `kspace`: one number or (slices,);
            zero when unknown, the coils then go by an estimate.
        acquired: first column that the scanner acquired, and the first one after the last; the result is zero beyond.
        keep_kspace: return each coil's completed k-space, too.
        batch: slices at a time, as in `reconstruct_volume`.
        progress: called with what was just finished, in slices.

    Returns:
        The combined image, its k-space, and k-space of the zero-filled coil images combined in the same way. The
        magnitude of `image` is the combination asked for, its phase that of the sensitivity-weighted sum: its
        k-space differs from what any coil measured. `fractions` are of the coils' k-space. `factors`,
        `out_of_distribution` and `beyond_training` are of a virtual coil (`kspace.coils.virtual_coil`).

    Raises:
        UsageError: an argument that cannot be, or too few fully measured central lines to find sensitivities from.
        IahvaeError: out of memory with one slice at a time.
    """
    guide = _guide(guide, settings, coil_combine)
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
    noise = torch.tensor(
        [
            float(level) or estimate_sigma(one.numpy(), seen.numpy())
            for level, one, seen in zip(sigma, values, measured, strict=True)
        ],
        dtype=torch.float32,
    )
    weights = torch.empty_like(values[:, :, 0, 0])
    result, zero_filled, virtual, whole = (torch.empty_like(values[:, 0]) for _ in range(4))
    filled, bounded = torch.zeros_like(known), torch.zeros(len(values), dtype=torch.bool)
    completed = torch.empty_like(values) if keep_kspace else None

    def work(one: slice) -> None:
        data, level = values[one].to(device), noise[one].to(device)
        here, seen = known[one, None].to(device), measured[one, None].to(device)
        coils = calibrate(data, seen[0, 0], level)
        row = here[..., :1, :]  # suffices for columns
        sense = Sense(coils.sensitivities, row if bool((here == row).all()) else here)
        how = settings.precision, settings.symmetries
        with reported(*guide_calls(guide, settings), 1.0, progress):
            image, bounded[one] = estimate_combined(guide, data, sense, level, *how)
        kept = here if settings.data_consistency == "hard" else here & ~seen
        bins = torch.where(kept, data, fft2c(coils.sensitivities * image[:, None]))
        filled[one] = (bins != 0).any(dim=1)
        if completed is not None:
            completed[one] = bins
        result[one] = _combined(bins, coils, coil_combine)
        zero_filled[one] = _combined(data, coils, coil_combine)
        weights[one] = coils.weights
        virtual[one], whole[one] = (virtual_coil(each, coils.weights) for each in (data, bins))

    Batches(1).run(work, len(values))  # one by one, as their calibration regions differ
    sigma = sigma * torch.linalg.vector_norm(weights, dim=1)
    score = volume_score(model, domain, virtual, measured, sigma, batches)
    beyond = aspect_scores(domain, virtual, measured, sigma, whole)
    inner = recentre(virtual, model.size), recentre(measured, model.size)
    zero_signal = ~(values != 0).flatten(1).any(dim=1).numpy()
    unmeasured = np.zeros(len(values), bool)
    shown = unit[:, None, None]
    return Reconstruction(
        image=(result * shown).numpy(),
        kspace=(fft2c(result) * shown).numpy(),
        zero_filled=(fft2c(zero_filled) * shown).numpy(),
        factors=(canonical_factor(*inner, model.power.cpu()) * unit).numpy(),
        out_of_distribution=score,
        beyond_training=beyond,
        fractions=bin_fractions(measured, filled),
        steps=np.zeros(len(model.scales)),
        settings=replace(settings, method="guide"),
        zero_signal=zero_signal,
        unmeasured=unmeasured,
        bounded=bounded.numpy(),
        coil_kspace=None if completed is None else (completed * unit[:, None, None, None]).numpy(),
        warnings=(
            *volume_warnings(model.size, zero_signal, unmeasured, bounded.numpy(), batches, settings),
            *domain_warnings(score, domain),
            *aspect_warnings(beyond),
        ),
    )


def _guide(guide: Guide | None, settings: InferenceSettings, coil_combine: CoilCombine) -> Guide:
    """The guide, if what is asked of it can be."""
    if settings.samples:
        raise UsageError("posterior samples of multi-coil scans do not exist yet: leave the samples out")
    if settings.series:
        raise UsageError("a series of multi-coil frames cannot be reconstructed yet: leave series out")
    if settings.data_consistency == "none":
        raise UsageError(
            "bins of several coils are never the model's alone: take hard or soft data consistency"
        )
    if settings.method not in GUIDED or guide is None:
        found = f"method {settings.method}" if guide else "a checkpoint without one"
        raise UsageError(f"several coils: expected a method that uses the checkpoint's guide, found {found}")
    if coil_combine not in COIL_COMBINE:
        raise UsageError(f"coil combination {coil_combine}: expected one of {', '.join(COIL_COMBINE)}")
    return guide


def _combined(kspace: Tensor, coils: Coils, how: CoilCombine) -> Tensor:
    """The coil images as one: complex64 (B, C, H, W) to (B, H, W)."""
    images = ifft2c(kspace)
    weighted = combine(images, coils.sensitivities)
    return weighted if how == "sensitivity" else torch.polar(rss(images), weighted.angle())
