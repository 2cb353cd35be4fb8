"""One volume through the engine: scanner units to canonical form, the scale loop in batches, and back."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.engine import infer
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop, embed
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.iahvae import IAHVAE

Progress = Callable[[int], None]
"""Called with the number of slices that were just finished."""


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume.

    Attributes:
        image: complex64 (slices, H, W), in the units of the input (the FFT is unitary).
        kspace: complex64 (slices, H, W), its k-space.
        zero_filled: complex64 (slices, H, W), the measured bins that were used, zero elsewhere.
        factors: complex64 (slices,), what each slice's k-space was divided by (canonical form).
        shares: of the bins of `kspace`: "measured", "completed" by the model, left "zero"; they sum to 1.
        settings: how it was computed.
        warnings: one sentence each.
    """

    image: NDArray[np.complex64]
    kspace: NDArray[np.complex64]
    zero_filled: NDArray[np.complex64]
    factors: NDArray[np.complex64]
    shares: dict[str, float]
    settings: InferenceSettings
    warnings: tuple[str, ...] = field(default=())

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """float32 (slices, H, W)."""
        return np.abs(self.image)


def reconstruct_volume(
    model: IAHVAE,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    settings: InferenceSettings,
    *,
    up_to: int | None = None,
    noise_sigma: NDArray[np.floating] | float = 0.0,
    batch: int = 8,
    progress: Progress = lambda _: None,
) -> Reconstruction:
    """Reconstruct a volume.

    Args:
        model: as `load_model` gives it.
        kspace: complex (slices, H, W), H = W at least the model's N; DC at (H // 2, W // 2). Bins beyond the
            central N x N are kept as measured.
        mask: bool (H, W) or (slices, H, W), true where measured; None when all is.
        settings: how.
        up_to: use the measured bins of block B_s only; all others count as unmeasured.
        noise_sigma: per real and imaginary part, in the units of `kspace`: one number or (slices,); zero when
            unknown.
        batch: slices at a time.
        progress: told of finished slices.

    Returns:
        The reconstruction. Where nothing was measured within the model's grid there is nothing to complete
        from: these bins stay zero, with a warning.

    Raises:
        UsageError: an array of the wrong shape, values that are not finite, or no slices at a time.
    """
    if batch < 1:
        raise UsageError(f"batch {batch}: expected at least one slice")
    values, wanted, sigma = _checked(model, kspace, mask, noise_sigma)
    height = values.shape[-1]
    if up_to is not None:
        wanted = wanted & block_mask(up_to, height)
    measured = torch.where(wanted, values, 0)
    result = measured.clone()
    factors = torch.ones(len(values), dtype=torch.complex64)
    central = block_mask(model.size, height)
    for start in range(0, len(values), batch):
        rows = slice(start, min(start + batch, len(values)))
        grid, factors[rows] = _infer_batch(model, measured[rows], wanted[rows], sigma[rows], settings, start)
        result[rows] = torch.where(central, embed(grid, height), measured[rows])
        progress(rows.stop - rows.start)
    empty = ~(measured[:, central] != 0).any(dim=1)
    result[empty] = measured[empty]
    warnings: tuple[str, ...] = ()
    if bool(empty.any()):
        numbers = ", ".join(str(i) for i in empty.nonzero().flatten().tolist())
        warnings = (f"no signal in the central {model.size}x{model.size} bins of slice {numbers}: left zero",)
    return Reconstruction(
        image=ifft2c(result).numpy(),
        kspace=result.numpy(),
        zero_filled=measured.numpy(),
        factors=factors.numpy(),
        shares=_shares(wanted, central & ~empty[:, None, None]),
        settings=settings,
        warnings=warnings,
    )


def _infer_batch(
    model: IAHVAE, kspace: Tensor, mask: Tensor, sigma: Tensor, settings: InferenceSettings, first: int
) -> tuple[Tensor, Tensor]:
    """Central N x N bins of a batch, in its own units, and its canonical factors."""
    device = model.gains.device
    grid, grid_mask = crop(kspace, model.size).to(device), crop(mask, model.size).to(device)
    factor = canonical_factor(grid, grid_mask, model.power)
    canonical_sigma = sigma.to(device) / factor.abs()
    numbers = list(range(first, first + len(kspace)))
    bins = infer(model, grid / factor[:, None, None], grid_mask, canonical_sigma, settings, numbers)
    bins = bins * factor[:, None, None]
    if settings.data_consistency == "hard":
        bins = torch.where(grid_mask, grid, bins)  # exactly, not up to the rounding of two divisions
    return bins.cpu(), factor.cpu()


def _checked(
    model: IAHVAE,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_] | None,
    noise_sigma: NDArray[np.floating] | float,
) -> tuple[Tensor, Tensor, Tensor]:
    """k-space complex64 (S, H, W), mask bool (S, H, W), sigma float32 (S,)."""
    values = np.asarray(kspace)
    if values.ndim != 3 or not np.iscomplexobj(values) or values.shape[1] != values.shape[2]:
        raise UsageError(
            f"kspace: expected complex (slices, H, W) with H = W, got {values.dtype} {values.shape}"
        )
    if values.shape[1] < model.size:
        raise UsageError(f"kspace: expected at least {model.size} bins a side, got {values.shape[1]}")
    measured = np.ones(values.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    sigma = np.asarray(noise_sigma, np.float32)
    try:
        measured = np.broadcast_to(measured, values.shape)
        sigma = np.broadcast_to(sigma, values.shape[:1])
    except ValueError:
        raise UsageError(
            f"mask and noise_sigma: expected shapes that fit k-space {values.shape}, "
            f"got {measured.shape} and {sigma.shape}"
        ) from None
    with np.errstate(over="ignore"):  # infinity is refused in the next line
        values = np.where(measured, values, 0).astype(np.complex64)
    if not np.isfinite(values).all() or not np.isfinite(sigma).all() or (sigma < 0).any():
        raise UsageError("kspace and noise_sigma must be finite, and noise_sigma not negative")
    return torch.from_numpy(values), torch.tensor(measured), torch.tensor(sigma)


def _shares(mask: Tensor, modelled: Tensor) -> dict[str, float]:
    """Shares of the output's bins that were measured, completed by the model and left zero."""
    shares = {
        "measured": mask.float().mean(),
        "completed": (~mask & modelled).float().mean(),
        "zero": (~mask & ~modelled).float().mean(),
    }
    return {name: float(share) for name, share in shares.items()}
