"""The level of the thermal noise, estimated from k-space itself. Without torch, for `inspect`.

Everywhere, sigma is the standard deviation of each of the real and imaginary parts.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def estimate_sigma(kspace: NDArray[np.complex64], mask: NDArray[np.bool_]) -> float:
    """One noise level, per real and imaginary part, for a stack of slices, from where anatomy is weakest.

    Looked at are the background of the image, Fourier transformed along those axes that are measured without gaps
    (under a column mask the readout only), and the outermost measured k-space bins. Anatomy makes either too high,
    never too low: the edge of k-space decides where it is clearly lower (three standard deviations), else the
    background, which has more bins. Zero where too little is measured.

    Args:
        kspace: complex (B, H, W).
        mask: bool, broadcastable to (H, W), true where measured. Bins that are exactly zero in all slices
            hold no noise and do not count, measured or not; nor do slices of zeros.
    """
    mask = np.broadcast_to(mask, kspace.shape[1:])
    kspace = np.where(mask, kspace, 0)
    peak = float(np.abs(kspace).max())
    if peak == 0:
        return 0.0
    kspace /= peak  # squares of scanner units can leave float32's range
    background, _ = _quietest(*_background_tiles(kspace, mask), reach=2)
    edge, error = _quietest(*_outermost_bins(kspace), reach=3)  # few groups: with 2 it can stop at the lowest
    variance = edge if edge * (1 + 3 * error) < background else background
    return peak * math.sqrt(variance) if math.isfinite(variance) else 0.0


def _background_tiles(kspace: NDArray, mask: NDArray[np.bool_]) -> tuple[NDArray, int]:
    """Variance per part in overlapping tiles of the image (in k-space along an axis with gaps), bins per tile."""
    gapless = [axis for axis in (0, 1) if (mask & ~np.roll(mask, 1, axis)).sum(axis).max() <= 1]
    filled = (kspace != 0).any(axis=0)
    rows, columns = filled.any(axis=1), filled.any(axis=0)
    kspace, filled = kspace[:, rows][:, :, columns], filled[rows][:, columns]
    # Along a gap anatomy spreads over the field of view: small tiles fit between the strong columns.
    tile = tuple(min(8 if axis in gapless else 2, size) for axis, size in enumerate(filled.shape))
    if not gapless or filled.size < 8 * math.prod(tile):
        return np.zeros(0, np.float32), 1
    image = np.fft.ifftn(kspace, axes=[axis + 1 for axis in gapless], norm="ortho")
    variance = _power(image) / (2 * filled.mean(axis=tuple(gapless), keepdims=True))
    steps = [slice(None, None, max(1, side // 2)) for side in tile]
    tiles = sliding_window_view(variance, tile, axis=(1, 2))[:, steps[0], steps[1]]
    return tiles.mean(axis=(-2, -1)), math.prod(tile)


def _outermost_bins(kspace: NDArray) -> tuple[NDArray, int]:
    """Variance per part of each slice's outermost bins, and their number.

    Those are 2 % of the measured bins or 64, all outside the ellipse that touches 90 % of each half axis.
    """
    height, width = kspace.shape[1:]
    y = (np.arange(height) - height // 2) / (height / 2)
    x = (np.arange(width) - width // 2) / (width / 2)
    filled = (kspace != 0).any(axis=0)
    radius = ((y[:, None] ** 2 + x**2) * filled).ravel()
    bins = min(int((radius > 0.9**2).sum()), max(64, int(filled.sum()) // 50))
    if bins < 16:
        return np.zeros(0, np.float32), 1
    outermost = np.argsort(-radius, kind="stable")[:bins]
    return _power(kspace.reshape(len(kspace), -1)[:, outermost]).mean(axis=1) / 2, bins


def _power(values: NDArray) -> NDArray:
    return values.real**2 + values.imag**2


def _quietest(variances: NDArray, bins: int, reach: float) -> tuple[float, float]:
    """Mean of the quietest groups of bins that one white noise explains, and a group's relative deviation.

    From the lowest twentieth upwards: the mean of all groups up to `reach` standard deviations, level / sqrt(bins)
    each, above the last mean, again and again. With a reach of 2 pure noise comes out 0.1 of them low. Infinite
    where there is none.
    """
    error = bins**-0.5
    # Rounding is no noise, nor are slices of zeros.
    noisy = variances[variances > 1e-10 * variances.mean()] if variances.size else variances
    if not noisy.size:
        return math.inf, error
    rank = noisy.size // 20
    level = np.partition(noisy, rank, axis=None)[rank]
    for _ in range(20):
        level = noisy[noisy <= level * (1 + reach * error)].mean()
    return float(level), error
