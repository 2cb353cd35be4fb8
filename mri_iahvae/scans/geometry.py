"""From the array of a scan to the field of view of its image: readout oversampling off, crop to reconSpace.

A scanner samples the readout about twice as densely as the image needs and crops the image (fastMRI: 640 rows to
320). The same crop is made first here: inverse FFT along the readout, crop, FFT. It is exact because every row of a
measured column is measured. Along an undersampled axis nothing is ever cropped in image space, as that would mix
measured and missing bins; that crop comes last, on the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.evaluation.metrics import MIN_SIDE
from mri_iahvae.kspace.centre_crop import crop_image, recentre
from mri_iahvae.scans.scan import Scan

_COLUMNS, _READOUT = -1, -2
_MOST = 0.98  # of a field of view: an image that holds less is cut, not rounded


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
        if self.field == self.native:
            return kspace
        image = _centred(np.fft.ifft, kspace, _READOUT)
        return _centred(np.fft.fft, crop_image(image, *self.field), _READOUT).astype(kspace.dtype)

    def expand(self, kspace: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The native k-space (..., height, width) of an image that is zero beyond the field of (..., rows, width)."""
        if self.field == self.native:
            return kspace
        image = _centred(np.fft.ifft, kspace, _READOUT)
        whole = np.zeros((*kspace.shape[:-2], *self.native), image.dtype)
        top = (self.native[0] - self.field[0]) // 2
        whole[..., top : top + self.field[0], :] = image
        return np.asarray(_centred(np.fft.fft, whole, _READOUT).astype(kspace.dtype))

    def reduce_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The measured bins of reduced k-space: (..., height, width) to (..., rows, width)."""
        # Where rows were removed, all rows of a measured column were measured.
        if self.field == self.native:
            return mask
        columns = mask.any(axis=_READOUT, keepdims=True)
        return np.repeat(columns, self.field[0], axis=_READOUT)

    def crop(self, image: NDArray) -> NDArray:
        """Centre crop of an image (..., rows, width), on the pixels that fastMRI takes from the native image."""
        # fastMRI crops from (n - m) // 2 of the native image; of that, `reduce` has taken its part.
        taken = (self.native[0] - self.field[0]) // 2
        top, left = (self.native[0] - self.image[0]) // 2 - taken, (self.native[1] - self.image[1]) // 2
        return image[..., top : top + self.image[0], left : left + self.image[1]]

    def image_of(self, kspace: NDArray) -> NDArray:
        """The image of fully sampled k-space (coils, height, width): float, the root of the coils' sum of squares."""
        images = self.reduce(kspace)
        for axis in (_READOUT, _COLUMNS):
            images = _centred(np.fft.ifft, images, axis)
        return np.asarray(np.linalg.norm(self.crop(images), axis=0).astype(np.float32))

    def affine(self, native: NDArray[np.float64]) -> NDArray[np.float64]:
        """The affine of the cropped image, (4, 4) from (column, row, slice) to mm, from that of the native one."""
        moved = np.eye(4)
        moved[:2, 3] = [(n - m) // 2 for n, m in zip(self.native[::-1], self.image[::-1], strict=True)]
        return native @ moved


def scan_geometry(
    scan: Scan, mask: NDArray[np.bool_] | None = None, image: tuple[int, int] | None = None
) -> Geometry:
    """The geometry of a scan.

    The image has the size that the user states (`image`), else that of the reference, else the scan's own
    (`Scan.image`), else that of k-space; where k-space is narrower (fastMRI's brain data have such files), a square of
    its width. The field of view along the readout is that of the image where the file or the user says so, or where it
    has at most half of the rows. `mask` holds the bins that are used; None takes the scan's own.

    Raises:
        UsageError: the image that the user states does not fit into k-space.
    """
    native = scan.height, scan.width
    if image is not None and (image[0] > native[0] or image[1] > native[1]):
        bins = f"{native[0]}x{native[1]} bins"
        raise UsageError(f"--image-size {image[0]}x{image[1]}: {scan.path} has {bins}; ask for fewer")
    reference = scan.reference if reference_fits(scan) else None
    wanted = image or reference or scan.image or native
    if wanted[1] > native[1]:
        wanted = native[1], native[1]
    size = min(wanted[0], native[0]), wanted[1]
    rows = max(size[0], min(scan.image[0], native[0])) if scan.image else size[0]
    if image is None and scan.image is None and 2 * rows > native[0]:
        rows = native[0]  # a crop, not the oversampling of a readout
    warnings = () if image else _cut(scan, size)
    used = scan.mask if mask is None else mask
    if rows < native[0] and (used != used.any(axis=_READOUT, keepdims=True)).any():
        warning = (
            "rows of measured columns are missing, so readout oversampling cannot be removed exactly: the whole "
            f"{native[0]}x{native[1]} field is reconstructed"
        )
        return Geometry(native, native, size, (*warnings, warning))
    return Geometry(native, (rows, native[1]), size, warnings)


def _cut(scan: Scan, size: tuple[int, int]) -> tuple[str, ...]:
    """A warning where an image of this size lacks a part of the field of view that the header states."""
    header = scan.header
    if header is None or header.pixel is None:
        return ()
    held = [n * mm for n, mm in zip(size, header.pixel, strict=True)]
    stated = [whole or mm for mm, whole in zip(held, header.recon_fov[:2], strict=True)]
    if all(mm > _MOST * whole for mm, whole in zip(held, stated, strict=True)):
        return ()
    text = "the image holds {:.0f} x {:.0f} mm of the {:.0f} x {:.0f} mm that the header states"
    more = ": --image-size {}x{} holds all that was encoded".format(*header.image)
    return (text.format(*held, *stated) + more * (size != header.image),)


def reference_fits(scan: Scan) -> bool:
    """Whether a crop of this scan's image has the size of its reference images, or of their square within k-space."""
    if scan.reference is None or min(scan.reference) < MIN_SIDE:
        return False
    rows, columns = scan.reference
    return rows <= scan.height and (columns <= scan.width or rows >= scan.width)


def require_measured_grid(scan: Scan, size: int) -> None:
    """Refuse a scan that cannot be trained on: without its central size x size bins, or of several coils with gaps.

    They have to be measured as a whole once readout oversampling is removed.
    """
    if scan.coils > 1 and not scan.fully_sampled:  # weights of coils mix neighbouring bins
        wanted = f"fully sampled k-space to combine {scan.coils} coils for training"
        raise unusable(scan.path, wanted, "undersampled k-space", "leave the file out")
    measured = scan_geometry(scan).reduce_mask(scan.mask)
    central = recentre(measured, size, size)
    if not central.all():
        wanted = f"the central {size}x{size} bins measured as a whole to train on"
        found = f"{central.mean():.1%} of them in {measured.shape[-2]}x{measured.shape[-1]} bins"
        raise unusable(scan.path, wanted, found, "leave the file out")


def _centred(transform: Callable[..., NDArray], values: NDArray, axis: int) -> NDArray:
    """A centred, unitary FFT along one axis."""
    turned = transform(np.fft.ifftshift(values, axes=axis), axis=axis, norm="ortho")
    return np.fft.fftshift(turned, axes=axis)
