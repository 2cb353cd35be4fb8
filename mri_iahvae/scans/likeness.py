"""Whether images show one object in the light of several coils, or several objects, as slices do.

Sensitivities are smooth, so each bin of one coil follows from the bins around it of the others (GRAPPA): what is left
is noise. Slices do not follow from each other so well, and cover each other, as only large coils do.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mri_iahvae.kspace.centre_crop import centre_block

_SIDES = range(24, 11, -1)  # of the block that is looked at, in bins: sensitivities are smooth
_OTHERS = 4  # from which an image is predicted, the most alike


class Likeness(NamedTuple):
    """How images resemble each other, medians over them.

    The limits leave room to both sides of what was measured on heads with noise of up to 0.1 of the RMS: three to 32
    simulated coils that cover each other leave at most 0.13 and 2.3 times the noise unexplained, slices at distances of
    2 mm and more as a rule over 0.15 and over 5 times that.

    Attributes:
        unexplained: fraction of an image's bins that does not follow from the others, each bin as important.
        noise: the fraction that noise alone makes of it.
        overlap: cosine of the magnitudes of two images.
    """

    unexplained: float
    noise: float
    overlap: float

    @property
    def slices(self) -> bool:
        """Whether they cover each other and yet show different objects."""
        return self.overlap > 0.75 and self.unexplained > max(0.15, 5 * self.noise)

    @property
    def coils(self) -> bool:
        """Whether they show one object, and differ in brightness more than repeated or neighbouring images do."""
        return self.overlap < 0.95 and self.unexplained < 0.03


def likeness(kspace: NDArray[np.complex64], mask: NDArray[np.bool_], sigma: float) -> Likeness | None:
    """Compare images by their k-space.

    None for fewer than three with signal, or where too little of the centre is measured.

    Args:
        kspace: complex (n, height, width).
        mask: bool (height, width), true where measured.
        sigma: noise per part, in the units of `kspace`; 0 where unknown.
    """
    side = next((side for side in _SIDES if _central(mask, side).all()), 0)
    block = _central(kspace, side).astype(complex)
    block = block[block.any(axis=(1, 2))]
    count = len(block)
    if count < 3:
        return None
    pixels = np.abs(np.fft.ifft2(block)).reshape(count, -1)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    around = sliding_window_view(block, (3, 3), axis=(1, 2)).reshape(count, -1, 9)
    power = np.square(np.abs(around)).mean(axis=(0, 2))
    weight = np.where(power > 0, 1 / np.sqrt(np.where(power > 0, power, 1)), 0)
    around = around * weight[:, None]
    own = around[..., 4]
    alike = np.abs(own.conj() @ own.T)
    parts = []
    for number, values in enumerate(own):
        others = [other for other in np.argsort(-alike[number]).tolist() if other != number][:_OTHERS]
        known = np.concatenate(around[others], axis=1)
        left = values - known @ np.linalg.lstsq(known, values, rcond=1e-3)[0]
        part = np.vdot(left, left).real / np.vdot(values, values).real
        parts.append(part / (1 - known.shape[1] / len(known)))
    with np.errstate(over="ignore"):  # an absurd sigma explains everything
        noise = 2 * np.square(sigma * weight).sum() / np.square(np.abs(own)).sum(axis=1)
    overlap = (pixels @ pixels.T)[~np.eye(count, dtype=bool)]
    return Likeness(float(np.median(parts)), float(np.median(noise)), float(np.median(overlap)))


def _central(array: NDArray, side: int) -> NDArray:
    rows, columns = (centre_block(n, side) for n in array.shape[-2:])
    return array[..., rows, columns]
