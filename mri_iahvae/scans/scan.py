"""A scan: what is known of a volume of k-space on disk, and how it is read slice by slice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.header import Header

MaskSource = Literal["file", "zeros", "full"]

KSPACE = "kspace"
REFERENCE = "reconstruction_esc"
RECONSTRUCTION = "reconstruction"


class Source(Protocol):
    """Where the arrays of a scan come from: one per file format. Nothing is kept open between calls."""

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """Slices of k-space one by one, as stored: complex (coils, height, width).

        Raises:
            ScanError: the file changed or cannot be read.
        """

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """Reference images one by one, real (rows, columns).

        Raises:
            ScanError: as `kspace`.
        """


class WithoutReference:
    """The part of a `Source` whose format holds no reference images."""

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:  # noqa: ARG002 - as `Source.reference`
        """None."""
        return iter(())


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume. Data are read on demand; nothing is kept open."""

    path: Path
    slices: int
    coils: int
    """1 for single-coil data."""
    height: int
    """k-space rows (readout)."""
    width: int
    """k-space columns (phase encoding)."""
    mask: NDArray[np.bool_] = field(repr=False)
    """(height, width), true where measured; the same for all slices and coils."""
    mask_source: MaskSource
    """From the file's `mask`, inferred from columns or bins that are exactly zero, or all measured."""
    source: Source = field(repr=False)
    acquired: tuple[int, int] = (0, 0)
    """First acquired column, and the first one after the last acquired; zero padding lies outside."""
    noise_sigma: NDArray[np.float64] | None = field(default=None, repr=False)
    """(slices,), standard deviation of each of the real and imaginary parts, in the file's units (k-space and
    image alike, as the transform is unitary); None where the file does not say."""
    reference: tuple[int, int] | None = None
    """Size (rows, columns) of the reference images, None where there are none."""
    header: Header | None = None
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    """(4, 4), from (column, row, slice) of the image to mm, where the file states position and orientation."""
    attributes: Mapping[str, str | float] = field(default_factory=dict, repr=False)
    """fastMRI's scalar attributes, those present. May hold a patient's identifier: not for logs."""
    warnings: tuple[str, ...] = ()
    """One sentence each about what was odd and how it was taken."""

    @property
    def fully_sampled(self) -> bool:
        """Whether every bin that was acquired is measured."""
        return bool(self.mask[:, slice(*self.acquired)].all())

    def read(self, index: int | slice) -> NDArray[np.complex64]:
        """k-space of some slices of a single-coil scan.

        Args:
            index: a slice number (negative ones count from the end) or a Python slice.

        Returns:
            complex64 (n, height, width) in the file's units, +0 at unmeasured bins; n = 1 for a number.

        Raises:
            IndexError: no slice of that number.
            ScanError: several coils, values that are not finite, or a file that changed or cannot be read.
        """
        if self.coils != 1:
            raise ScanError(
                f"{self.path}: expected single-coil k-space, found {self.coils} coils; combine them into one first"
            )
        return self.read_coils(index)[:, 0]

    def read_coils(self, index: int | slice) -> NDArray[np.complex64]:
        """k-space of some slices, with an axis for the coils.

        Args:
            index: as in `read`.

        Returns:
            complex64 (n, coils, height, width), else as `read`.

        Raises:
            IndexError: as `read`.
            ScanError: values that are not finite, or a file that changed or cannot be read.
        """
        numbers = self._numbers(index)
        out = np.empty((len(numbers), self.coils, self.height, self.width), np.complex64)
        for target, number, values in zip(out, numbers, self.source.kspace(numbers), strict=True):
            # np.where, not a product: a product leaves the sign of the discarded value in the zero.
            target[:] = np.where(self.mask, to_complex64(values), 0)
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
        out = np.empty((len(numbers), *self.reference), np.float32)
        for target, number, values in zip(out, numbers, self.source.reference(numbers), strict=True):
            with np.errstate(over="ignore"):  # infinity is refused in the next line
                target[:] = values
            self._check_finite(target, REFERENCE, number)
        return out

    def _numbers(self, index: int | slice) -> list[int]:
        chosen = range(self.slices)[index]
        return [chosen] if isinstance(chosen, int) else list(chosen)

    def _check_finite(self, values: NDArray[np.generic], name: str, number: int) -> None:
        if not np.isfinite(values).all():
            raise ScanError(
                f"{self.path}: expected finite values, found NaN or infinity in '{name}', slice {number}; "
                "repair the slice or leave it out"
            )


def to_complex64(values: NDArray) -> NDArray[np.complex64]:
    """Complex numbers of any width, or pairs with two named fields, as complex64."""
    if values.dtype.names:
        pairs, (real, imag) = values, values.dtype.names
        values = np.empty(pairs.shape, np.complex128)
        values.real, values.imag = pairs[real], pairs[imag]
    # Beyond float32's range it becomes infinity, which the caller refuses, like NaN of any kind.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.complex64)


def filled_bins(values: NDArray) -> NDArray[np.bool_]:
    """True where complex numbers, as `to_complex64` takes them, are not exactly zero; NaN is not."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return np.asarray(to_complex64(values) != 0)
