"""From the array of a scan to the field of view of its image: readout oversampling off, crop to reconSpace.

A scanner samples the readout about twice as densely as the image needs and crops the image (fastMRI: 640 rows to
320). The same crop is made first here: inverse FFT along the readout, crop, FFT. It is exact because every row of a
measured column is measured. Across an undersampled axis nothing is ever cropped in image space, as that would mix
measured and missing bins; that crop comes last, on the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.evaluation.metrics import MIN_SIDE
from mri_iahvae.scans.scan import Scan

_READOUT = -2


@dataclass(frozen=True)
class Geometry:
    """How the bins of a scan become the pixels of its image.

    Attributes:
        native: (height, width) of the k-space array.
        field: (rows, width) of k-space once readout oversampling is removed; what is reconstructed.
        image: (height, width) of the image that is written, as fastMRI crops it.
        warnings: one sentence each.
    """

    native: tuple[int, int]
    field: tuple[int, int]
    image: tuple[int, int]
    warnings: tuple[str, ...] = ()

    def reduce(self, kspace: NDArray) -> NDArray:
        """Remove readout oversampling: (..., height, width) complex to (..., rows, width); the FFT is unitary."""
        rows = self.field[0]
        if rows == self.native[0]:
            return kspace
        start = (self.native[0] - rows) // 2
        image = _along_readout(np.fft.ifft, kspace)[..., start : start + rows, :]
        return _along_readout(np.fft.fft, image).astype(kspace.dtype)

    def reduce_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The measured bins of reduced k-space: (height, width) to (rows, width)."""
        # Where rows were removed, all rows of a measured column were measured.
        return mask if self.field == self.native else np.tile(mask.any(axis=0), (self.field[0], 1))

    def crop(self, image: NDArray) -> NDArray:
        """Centre crop of an image (..., rows, width), on the pixels that fastMRI takes from the native image."""
        (top, left), (height, width) = self._origin(), self.image
        return image[..., top : top + height, left : left + width]

    def affine(self, native: NDArray[np.float64]) -> NDArray[np.float64]:
        """The affine of the cropped image, (4, 4) from (column, row, slice) to mm, from that of the native one."""
        moved = np.eye(4)
        moved[0, 3], moved[1, 3] = (
            (n - m) // 2 for n, m in zip(self.native[::-1], self.image[::-1], strict=True)
        )
        return native @ moved

    def _origin(self) -> tuple[int, int]:
        # fastMRI crops from (n - m) // 2 of the native image; of that, the first crop has taken its part.
        taken = (self.native[0] - self.field[0]) // 2
        return (self.native[0] - self.image[0]) // 2 - taken, (self.native[1] - self.image[1]) // 2


def scan_geometry(
    scan: Scan, mask: NDArray[np.bool_] | None = None, image: tuple[int, int] | None = None
) -> Geometry:
    """The geometry of a scan.

    Args:
        scan: the scan.
        mask: bool (height, width), its bins that are used; None takes the scan's own.
        image: (height, width) of the image, as the user states it.

    Returns:
        The image has the size that is stated, else that of the reference, else the header's reconSpace, else that
        of k-space; where k-space is narrower (fastMRI's brain data have such files), a square of its width. The
        field of view along the readout is that of the image where the header or the user says so, or where it has
        at most half of the rows.

    Raises:
        UsageError: the image that the user states does not fit into k-space.
    """
    native = scan.height, scan.width
    if image is not None and (image[0] > native[0] or image[1] > native[1]):
        raise UsageError(
            f"--image-size {image[0]}x{image[1]}: {scan.path} has {native[0]}x{native[1]} bins; ask for fewer"
        )
    reference = scan.reference if reference_fits(scan) else None
    wanted = image or reference or (scan.header and scan.header.recon) or native
    if wanted[1] > native[1]:
        wanted = native[1], native[1]
    size = min(wanted[0], native[0]), wanted[1]
    rows = max(size[0], min(scan.header.recon[0], native[0])) if scan.header else size[0]
    if image is None and scan.header is None and 2 * rows > native[0]:
        rows = native[0]  # a crop, not the oversampling of a readout
    used = scan.mask if mask is None else mask
    if rows < native[0] and not used[:, used.any(axis=0)].all():
        warning = (
            "rows of measured columns are missing, so readout oversampling cannot be removed exactly: the whole "
            f"{native[0]}x{native[1]} field is reconstructed"
        )
        return Geometry(native, native, size, (warning,))
    return Geometry(native, (rows, native[1]), size)


def reference_fits(scan: Scan) -> bool:
    """Whether there are reference images that this scan's image can be cropped to, or that be cropped to its width."""
    if scan.reference is None or min(scan.reference) < MIN_SIDE:
        return False
    rows, columns = scan.reference
    return rows <= scan.height and (columns <= scan.width or rows >= scan.width)


def require_measured_grid(scan: Scan, size: int) -> None:
    """Check that a scan can be trained on.

    Args:
        scan: the scan.
        size: side of the model's grid.

    Raises:
        ScanError: several coils, or the central size x size bins are not measured as a whole once readout
            oversampling is removed.
    """
    if scan.coils > 1:
        raise ScanError(
            f"{scan.path}: expected single-coil k-space to train on, found {scan.coils} coils; leave the file out"
        )
    measured = scan_geometry(scan).reduce_mask(scan.mask)
    if not to_grid(measured, size).all():
        rows, columns = measured.shape
        raise ScanError(
            f"{scan.path}: expected the central {size}x{size} bins measured as a whole to train on, found "
            f"{to_grid(measured, size).mean():.1%} of them in {rows}x{columns} bins; leave the file out"
        )


def to_grid(kspace: NDArray, size: int) -> NDArray:
    """The centred size x size bins of (..., H, W), zero beyond the array; DC comes to size // 2 on both axes."""
    for axis in (-2, -1):
        before = size // 2 - kspace.shape[axis] // 2
        after = size - kspace.shape[axis] - before
        kept = slice(max(0, -before), kspace.shape[axis] - max(0, -after))
        kspace = kspace[..., kept, :] if axis == _READOUT else kspace[..., kept]
        widths = [(0, 0)] * kspace.ndim
        widths[axis] = max(0, before), max(0, after)
        kspace = np.pad(kspace, widths)
    return kspace


def _along_readout(transform: Callable[..., NDArray], values: NDArray) -> NDArray:
    """Centred, unitary FFT along the rows."""
    turned = transform(np.fft.ifftshift(values, axes=_READOUT), axis=_READOUT, norm="ortho")
    return np.fft.fftshift(turned, axes=_READOUT)
