"""A multi-coil volume: the guide with the coils' own data consistency, and the coil images combined."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import GUIDED, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, recentre
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.arrays import LOUDEST, checked_arrays, power_of_two
from mri_iahvae.pipeline.batches import Batches, make_batches
from mri_iahvae.pipeline.coil_slice import CoilSlice
from mri_iahvae.pipeline.out_of_distribution import aspect_scores, volume_score
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.request import COIL_COMBINE, CoilCombine
from mri_iahvae.pipeline.steps import Progress
from mri_iahvae.pipeline.volume import bin_fractions
from mri_iahvae.pipeline.volume_warnings import volume_warnings


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
    sensitivities: NDArray[np.complexfloating] | None = None,
    acquired: tuple[int, int] | None = None,
    keep_kspace: bool = False,
    keep_sensitivities: bool = False,
    keep_samples: bool = False,
    batch: int | Batches | None = None,
    first: int = 0,
    progress: Progress = lambda _: None,
) -> Reconstruction:
    """Reconstruct a multi-coil volume, or consecutive slices of one.

    The sensitivities come from the calibration region unless they are given. The guide estimates the image that all
    coils measured (`model.guide.Guide.combine`); the hierarchy, whose prior is of single images, is not used.

    Memory grows with slices times coils: of a large volume, give a group of slices at a time.

    Args:
        model: as `load_model` gives it.
        kspace: complex (slices, coils, H, W), any size; DC at (H // 2, W // 2). Noise is taken to be equally strong
            in all coils, and independent.
        mask: bool (W,) for columns, (H, W) or (slices, H, W), true where measured; None when all is.
        settings: how. Posterior samples are draws of the estimate's error (`model.coil_estimate.CoilEstimate`). Data
            consistency "hard" puts each coil's measured bins back in the end; otherwise they are the estimate's, which
            weighs them by the noise.
        guide: as `load_guide` gives it.
        coil_combine: "rss": root of the sum of squares of the coil images, fastMRI's target; "sensitivity": sum of
            the coil images times the conjugate sensitivities, which gathers less noise.
        domain: as in `reconstruct_volume`.
        up_to: use the measured bins of block B_s only; all others count as unmeasured.
        noise_sigma: of every coil, per real and imaginary part, in the units of `kspace`: one number or (slices,);
            zero when unknown, the coils then go by an estimate.
        sensitivities: complex (coils, H, W) or (slices, coils, H, W), of any scale and with a smooth phase, zero where
            there is no signal; None takes the calibration region's (ESPIRiT).
        acquired: first column that the scanner acquired, and the first one after the last; the result is zero beyond.
        keep_kspace: return each coil's completed k-space, too.
        keep_sensitivities: return the sensitivities that were used, too.
        keep_samples: as in `reconstruct_volume`.
        batch: slices at a time, as in `reconstruct_volume`.
        first: as in `reconstruct_volume`.
        progress: called with what was just finished, in slices.

    Returns:
        The combined image, its k-space, and k-space of the zero-filled coil images combined in the same way. The
        magnitude of `image` is the combination asked for, its phase that of the sensitivity-weighted sum: its
        k-space differs from what any coil measured. Of samples it is the combination of their mean, which is the
        estimate. `fractions` are of the coils' k-space. `factors`,
        `out_of_distribution` and `beyond_training` are of a virtual coil (`kspace.coils.virtual_coil`).

    Raises:
        UsageError: an argument that cannot be, or too few fully measured central lines to find sensitivities from.
        IahvaeError: out of memory with one slice at a time.
    """
    guide = _guide(guide, settings, coil_combine)
    device = model.gains.device
    values, measured, sigma = checked_arrays(kspace, mask, noise_sigma, coils=True)
    maps = None if sensitivities is None else _checked_maps(sensitivities, values)
    if keep_samples and not settings.samples:
        raise UsageError("keep_samples needs samples")
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
    asked = {"coil_kspace": keep_kspace, "sensitivities": keep_sensitivities, "samples": keep_samples}
    kept = tuple(name for name, wanted in asked.items() if wanted)
    parts: list[dict[str, Tensor]] = []

    def work(one: slice) -> None:
        data, seen, here, level = (part[one].to(device) for part in (values, measured, known, noise))
        own = None if maps is None else maps[one].to(device)
        measurement = CoilSlice(data, seen, here, level, own, first + one.start)
        parts.append(measurement.reconstruct(guide, settings, coil_combine, kept, progress))

    Batches(1).run(work, len(values))  # one by one, as their calibration regions differ
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    virtual, bounded = found["virtual"], found["bounded"].numpy()
    sigma = sigma * torch.linalg.vector_norm(found["weights"], dim=1)
    score = volume_score(model, domain, virtual, measured, sigma, batches)
    beyond = aspect_scores(domain, virtual, measured, sigma, found["whole"])
    inner = recentre(virtual, model.size), recentre(measured, model.size)
    zero_signal = ~(values != 0).flatten(1).any(dim=1).numpy()
    unmeasured = np.zeros(len(values), bool)

    flags = zero_signal, unmeasured, bounded, score, beyond

    def shown(values: Tensor) -> NDArray[Any]:
        """In the units of k-space."""
        return (values * unit.reshape(-1, *[1] * (values.ndim - 1))).numpy()

    optional: dict[str, Any] = {
        name: shown(found[name]) for name in ("std", "samples", "coil_kspace") if name in found
    }
    if keep_sensitivities:
        optional["sensitivities"] = found["sensitivities"].numpy()
    return Reconstruction(
        image=shown(found["image"]),
        kspace=shown(fft2c(found["image"])),
        zero_filled=shown(fft2c(found["zero_filled"])),
        factors=(canonical_factor(*inner, model.power.cpu()) * unit).numpy(),
        out_of_distribution=score,
        beyond_training=beyond,
        fractions=bin_fractions(measured, found["filled"]),
        steps=np.zeros(len(model.scales)),
        settings=replace(settings, method="guide"),
        zero_signal=zero_signal,
        unmeasured=unmeasured,
        bounded=bounded,
        **optional,
        warnings=volume_warnings(model.size, *flags, domain=domain, batches=batches, settings=settings),
    )


def _guide(guide: Guide | None, settings: InferenceSettings, coil_combine: CoilCombine) -> Guide:
    """The guide, if what is asked of it can be."""
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


def _checked_maps(sensitivities: NDArray[np.complexfloating], kspace: Tensor) -> Tensor:
    """Sensitivities as complex64, of the shape of k-space (slices, coils, H, W)."""
    maps = np.asarray(sensitivities)
    maps = maps[0] if maps.ndim == 4 and len(maps) == 1 else maps  # one set for all slices
    expected = tuple(kspace.shape[-3:]), tuple(kspace.shape)
    if maps.shape not in expected or not np.iscomplexobj(maps):
        wanted = " or ".join(map(str, expected))
        raise UsageError(f"sensitivities: expected complex {wanted}, got {maps.dtype} {maps.shape}")
    if not np.isfinite(maps).all() or not maps.any():
        raise UsageError("sensitivities must be finite, and not all zero")
    return torch.from_numpy(maps.astype(np.complex64)).expand(kspace.shape)
