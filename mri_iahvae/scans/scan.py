"""A scan: a volume of k-space on disk, described when it is opened and read slice by slice.

From file to inference:

1. `reader.open_scan` recognises the format; one file of `formats` checks the file and describes it as a `Scan`.
2. `undersampling.Sampling.apply` decides which bins count as measured: the file's own, or fewer of them.
3. `Scan.read_coils` reads some slices, zeroes what is not measured, and refuses values that are not finite. This is
   the only place where data from a file are masked and checked.
4. `geometry.Geometry.reduce` removes readout oversampling; `SampledMask.within` does so with the mask, and leaves out
   what lies beyond `--up-to`.
5. `noise_level` finds sigma where the task wants it.
6. `pipeline.volume` (one coil) or `pipeline.multicoil` takes k-space, mask and sigma as the Python API does: central
   N x N bins, canonical form, inference, and back. `Geometry.crop` gives the image its size.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, unusable
from mri_iahvae.scans.header import Header

Voxel = tuple[float | None, float, float]
"""Distance of slices, None where it is not known, of rows and of columns, in mm."""

MaskSource = Literal["file", "zeros", "full"]

KSPACE = "kspace"
REFERENCE = "reconstruction_esc"
RECONSTRUCTION = "reconstruction"
_PAIRS = {("r", "i"), ("re", "im"), ("real", "imag")}  # names of fields, in any case


class Source(Protocol):
    """Where the arrays of a scan come from: one class per file format. Nothing is kept open between calls."""

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """Slices of k-space one by one, as stored: complex (coils, height, width)."""

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:  # noqa: ARG002 - most formats have none
        """Reference images one by one, real (rows, columns); none where the format has none."""
        return iter(())

    def header_text(self) -> str | None:
        """The ISMRMRD header as stored; None where the format has none."""
        return None


@dataclass(frozen=True)
class ChangedSource(Source):
    """Arrays of another source; `change` takes each slice of its k-space, complex64 (coils, height, width)."""

    source: Source
    change: Callable[[NDArray[np.complex64]], NDArray] = field(repr=False)

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        return (self.change(to_complex64(values)) for values in self.source.kspace(numbers))

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.reference`."""
        return self.source.reference(numbers)

    def header_text(self) -> str | None:
        """As `Source.header_text`."""
        return self.source.header_text()


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
    """(height, width), true where measured, in all slices; or (slices, height, width), where they differ. The same for
    all coils."""
    mask_source: MaskSource
    """The file's `mask`, columns or bins that are exactly zero, or everything measured."""
    source: Source = field(repr=False)
    acquired: tuple[int, int] = (0, 0)
    """First acquired column, and the first one after the last acquired; zero padding lies outside."""
    noise_sigma: NDArray[np.float64] | None = field(default=None, repr=False)
    """(slices,), standard deviation of each of the real and imaginary parts, in the file's units (k-space and
    image alike, as the transform is unitary); None where the file does not say."""
    whitening: NDArray[np.complex64] | None = field(default=None, repr=False)
    """(coils, coils), what the coils of the file are multiplied by (`scans.whitening`); None: they are as stored."""
    dwell: NDArray[np.float64] | None = field(default=None, repr=False)
    """(slices,), microseconds that a sample was measured for, averages together; None where the file does not say."""
    reference: tuple[int, int] | None = None
    """Size (rows, columns) of the reference images, None where there are none."""
    header: Header | None = None
    image: tuple[int, int] | None = None
    """Size (rows, columns) that the image is cropped to, where the file says; fastMRI's may be wider than k-space."""
    voxel: Voxel | None = None
    """Size of a voxel of k-space's image, where the file says."""
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    """(4, 4), from (column, row, slice) of the image to mm, where the file states position and orientation."""
    attributes: Mapping[str, str | float] = field(default_factory=dict, repr=False)
    """fastMRI's scalar attributes, those present. May hold a patient's identifier: not for logs."""
    warnings: tuple[str, ...] = ()
    """One sentence each about what was odd and how it was taken."""
    notes: tuple[str, ...] = ()
    """One sentence each about what was done with the data, as it should be."""

    @property
    def fully_sampled(self) -> bool:
        """Whether every bin that was acquired is measured."""
        return bool(self.mask[..., slice(*self.acquired)].all())

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Measured bins of each slice, (slices, height, width)."""
        return np.broadcast_to(self.mask, (self.slices, self.height, self.width))

    @property
    def sparsest_mask(self) -> NDArray[np.bool_]:
        """Measured bins of the slice that has fewest, (height, width)."""
        masks = self.masks
        return np.asarray(masks[masks.sum(axis=(1, 2)).argmin()]) if self.mask.ndim == 3 else self.mask

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
            found = f"{self.coils} coils"
            raise unusable(self.path, "single-coil k-space", found, "combine them into one first")
        return self.read_coils(index)[:, 0]

    def read_coils(self, index: int | slice) -> NDArray[np.complex64]:
        """k-space of some slices with all coils: complex64 (n, coils, height, width), else as `read`."""
        numbers = self._numbers(index)
        out = np.empty((len(numbers), self.coils, self.height, self.width), np.complex64)

        def masked(values: NDArray, number: int) -> NDArray:
            # np.where, not a product: a product leaves the sign of the discarded value in the zero.
            return np.where(self.masks[number], to_complex64(values), 0)

        self._read(out, KSPACE, numbers, self.source.kspace(numbers), masked)
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
            raise unusable(self.path, f"a reference '{REFERENCE}'", "none", "use another file")
        numbers = self._numbers(index)
        out = np.empty((len(numbers), *self.reference), np.float32)
        self._read(out, REFERENCE, numbers, self.source.reference(numbers), lambda values, _: values)
        return out

    def _numbers(self, index: int | slice) -> list[int]:
        chosen = range(self.slices)[index]
        return [chosen] if isinstance(chosen, int) else list(chosen)

    def _read(
        self,
        out: NDArray,
        name: str,
        numbers: Sequence[int],
        stored: Iterable[NDArray],
        convert: Callable[[NDArray, int], NDArray],
    ) -> None:
        for target, number, values in zip(out, numbers, stored, strict=True):
            if values.shape != target.shape:
                raise file_changed(self.path)
            with np.errstate(over="ignore"):  # infinity is refused in the next lines
                target[:] = convert(values, number)
            if not np.isfinite(target).all():
                raise ScanError(
                    f"{self.path}: expected finite values, found NaN or infinity in '{name}', slice {number}; "
                    "set what was not measured to zero, or leave the slice out"
                )


def file_changed(path: Path) -> ScanError:
    """The error for a file that is no longer what it was when it was opened."""
    return unusable(path, "the file as it was opened", "it changed", "run again")


def is_complex(dtype: np.dtype) -> bool:
    """Whether `to_complex64` takes numbers of this type: complex ones, or two equal fields of integers or floats.

    The fields must not overlap: HDF5 writes past its memory where they do.
    """
    if tuple(name.lower() for name in dtype.names or ()) not in _PAIRS:
        return dtype.kind == "c"
    (first, at), (second, then) = (dtype.fields[name][:2] for name in dtype.names)  # type: ignore[index, union-attr]
    return bool(first.kind in "iuf" and first == second and abs(then - at) >= first.itemsize)


def complex_advice(shape: tuple[int, ...]) -> str:
    """What to do with an array of numbers that are not complex."""
    if len(shape) > 2 and shape[-1] == 2:
        return "if the last axis holds real and imaginary parts, save x[..., 0] + 1j * x[..., 1]"
    return "save k-space as complex64; an image is read as NIfTI"


def to_complex64(values: NDArray) -> NDArray[np.complex64]:
    """Complex numbers of any width, or pairs with two named fields, as complex64."""
    if values.dtype.names:
        pairs, (real, imag) = values, values.dtype.names
        values = np.empty(pairs.shape, np.complex128)
        values.real, values.imag = pairs[real], pairs[imag]
    # Beyond float32's range it becomes infinity, which the caller refuses, like NaN of any kind.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.complex64)
