"""fastMRI single-coil HDF5 files: checked on opening, read slice by slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.fields import (
    KSPACE,
    REFERENCE,
    MaskSource,
    kspace_dataset,
    read_attributes,
    read_header,
    read_mask,
    read_noise_sigma,
    reference_name,
    to_complex64,
)
from mri_iahvae.scans.guard import dataset, guarded_file
from mri_iahvae.scans.header import Header


@dataclass(frozen=True, eq=False)
class Scan:
    """One fastMRI single-coil file. Data are read on demand; nothing is kept open."""

    path: Path
    slices: int
    height: int
    """k-space rows (readout)."""
    width: int
    """k-space columns (phase encoding)."""
    mask: NDArray[np.bool_] = field(repr=False)
    """(height, width), true where measured; the same for all slices."""
    mask_source: MaskSource
    """From the file's `mask`, inferred from columns or bins that are exactly zero, or all measured."""
    noise_sigma: NDArray[np.float64] | None = field(repr=False)
    """(slices,), standard deviation of each of the real and imaginary parts, in the file's units (k-space and
    image alike, as the transform is unitary); None where the file does not say."""
    reference: str | None
    """Dataset of the reference image, None where there is none."""
    header: Header | None
    attributes: Mapping[str, str | float] = field(repr=False)
    """fastMRI's scalar attributes, those present. May hold a patient's identifier: not for logs."""
    warnings: tuple[str, ...]
    """One sentence each about what was odd and how it was taken."""

    def read(self, index: int | slice) -> NDArray[np.complex64]:
        """k-space of some slices.

        Args:
            index: a slice number (negative ones count from the end) or a Python slice.

        Returns:
            complex64 (n, height, width) in the file's units, +0 at unmeasured bins; n = 1 for a number.

        Raises:
            IndexError: no slice of that number.
            ScanError: values that are not finite, or a file that changed or cannot be read.
        """
        numbers = self._numbers(index)
        out = np.empty((len(numbers), self.height, self.width), np.complex64)
        with guarded_file(self.path) as file:
            kspace = self._same(kspace_dataset(file), (self.slices, self.height, self.width))
            for target, number in zip(out, numbers, strict=True):
                # np.where, not a product: a product leaves the sign of the discarded value in the zero.
                target[:] = np.where(self.mask, to_complex64(kspace[number]), 0)
                self._check_finite(target, KSPACE, number)
        return out

    def read_reference(self, index: int | slice) -> NDArray[np.float32]:
        """Reference magnitude images of some slices.

        Args:
            index: as in `read`.

        Returns:
            float32 (n, rows, columns) in the file's units; the size may differ from that of k-space.

        Raises:
            IndexError: no slice of that number.
            ScanError: the file has no reference, or as in `read`.
        """
        if self.reference is None:
            raise ScanError(f"{self.path}: expected a reference '{REFERENCE}', found none; use another file")
        numbers = self._numbers(index)
        with guarded_file(self.path) as file:
            images = self._same(dataset(file, self.reference), None)
            out = np.empty((len(numbers), *images.shape[1:]), np.float32)
            for target, number in zip(out, numbers, strict=True):
                with np.errstate(over="ignore"):  # infinity is refused in the next line
                    target[:] = images[number]
                self._check_finite(target, self.reference, number)
        return out

    def _numbers(self, index: int | slice) -> list[int]:
        chosen = range(self.slices)[index]
        return [chosen] if isinstance(chosen, int) else list(chosen)

    def _same(self, found: h5py.Dataset | None, shape: tuple[int, ...] | None) -> h5py.Dataset:
        if found is None or len(found) != self.slices or (shape and found.shape != shape):
            raise ScanError(f"{self.path}: expected the file as it was opened, found it changed; run again")
        return found

    def _check_finite(self, values: NDArray[np.generic], name: str, number: int) -> None:
        if not np.isfinite(values).all():
            raise ScanError(
                f"{self.path}: expected finite values, found NaN or infinity in '{name}', slice {number}; "
                "repair the slice or leave it out"
            )


def open_scan(path: str | Path) -> Scan:
    """Check a file and describe it.

    Args:
        path: a fastMRI single-coil HDF5 file: `kspace` (slices, height, width), and optionally `mask`
            (width,) or (height, width) with any axes of length 1 that `require_mask` takes,
            `reconstruction_esc`, `ismrmrd_header`, and `noise_sigma`, a dataset or attribute, scalar or
            (slices,).

    Returns:
        The scan. Columns that the header calls padding count as unmeasured.

    Raises:
        ScanError: one line with the file, what was expected, what was found, and what to do.
    """
    path = Path(path)
    with guarded_file(path) as file:
        kspace = kspace_dataset(file)
        slices, height, width = kspace.shape
        warnings: list[str] = []
        header = read_header(file, (height, width), warnings)
        mask, source = read_mask(file, kspace)
        if header is not None and header.padding is not None:
            mask[:, : header.padding[0]] = False
            mask[:, header.padding[1] :] = False
        if not mask.any():
            warnings.append("no k-space bin is measured")
        return Scan(
            path=path,
            slices=slices,
            height=height,
            width=width,
            mask=mask,
            mask_source=source,
            noise_sigma=read_noise_sigma(file, slices),
            reference=reference_name(file, slices, warnings),
            header=header,
            attributes=read_attributes(file),
            warnings=tuple(warnings),
        )


def require_grid(scan: Scan, size: int) -> None:
    """Check that a scan fits a model's grid.

    Args:
        scan: what to reconstruct.
        size: side of the model's grid.

    Raises:
        ScanError: not a square of at least `size` x `size` bins.
    """
    if scan.height != scan.width or scan.height < size:
        raise ScanError(
            f"{scan.path}: {scan.height}x{scan.width}: expected a square at least {size}x{size}, "
            "the model's grid; native sizes are not supported yet: crop or zero-pad k-space to a square"
        )


def to_grid(kspace: NDArray, size: int) -> NDArray:
    """The centred size x size bins of (..., H, W), as a view; DC comes to size // 2 on both axes."""
    top, left = kspace.shape[-2] // 2 - size // 2, kspace.shape[-1] // 2 - size // 2
    return kspace[..., top : top + size, left : left + size]
