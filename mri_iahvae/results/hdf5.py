"""Scans and results as HDF5 files; each takes its name once it is whole."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import atomic_path

_HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <encoding>
    <encodedSpace>{space}</encodedSpace>
    <reconSpace>{space}</reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center>\
</kspace_encoding_step_1>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>
"""


def write_scan(
    path: Path,
    kspace: NDArray[np.complex64],
    *,
    mask: NDArray[np.bool_] | None = None,
    reference: NDArray[np.float32] | None = None,
    noise_sigma: float | NDArray[np.float64] | None = None,
    voxel: tuple[float, float, float] | None = None,
    acquisition: str = "",
    attributes: Mapping[str, str | float] | None = None,
) -> None:
    """Write a fastMRI single-coil file.

    Args:
        path: the file.
        kspace: complex64 (slices, H, W).
        mask: bool (W,) or (H, W), true where measured; other bins are written as zero. None when all are.
        reference: float32 (slices, h, w), magnitude, written as `reconstruction_esc` with `max` and `norm`.
        noise_sigma: per real and imaginary part, in the units of `kspace`: one number or (slices,).
        voxel: distance of slices, rows and columns in mm; without it the header states no field of view.
        acquisition: contrast and sequence, in fastMRI's words, such as `CORPD_FBK`.
        attributes: further scalar attributes.
    """
    _require_finite(path, kspace=kspace, reference=reference, noise_sigma=noise_sigma)
    height, width = kspace.shape[-2:]
    space = f"<matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>"
    if voxel is not None:
        thickness, rows, columns = voxel
        fov = f"<x>{height * rows:g}</x><y>{width * columns:g}</y><z>{thickness:g}</z>"
        space += f"<fieldOfView_mm>{fov}</fieldOfView_mm>"
    header = _HEADER.format(space=space, last=width - 1, center=width // 2)
    with _new_file(path) as file:
        file["kspace"] = np.asarray(kspace if mask is None else np.where(mask, kspace, 0), np.complex64)
        file["ismrmrd_header"] = header
        if mask is not None:
            file["mask"] = np.asarray(mask, bool)
        if reference is not None:
            file["reconstruction_esc"] = np.asarray(reference, np.float32)
            file.attrs["max"] = float(reference.max())
            file.attrs["norm"] = float(np.linalg.norm(reference.astype(np.float64)))
        if noise_sigma is not None:
            file.attrs["noise_sigma"] = noise_sigma
        file.attrs.update({"acquisition": acquisition, "patient_id": "", **(attributes or {})})


UNKNOWN = "expected_error"
"""The dataset that may hold NaN: in slices of which nothing is known."""


class ResultFile:
    """A file whose datasets are written part by part, their first axis being `count` long; see `result_file`."""

    def __init__(self, file: h5py.File, path: Path, count: int) -> None:
        self._file, self._path, self._count = file, path, count
        self._done = 0

    def append(self, **arrays: NDArray) -> None:
        """Write the next slices or samples, (n, ...) by dataset; the first call decides on names, shapes and types."""
        _require_finite(self._path, **{name: one for name, one in arrays.items() if name != UNKNOWN})
        added = len(next(iter(arrays.values())))
        for name, values in arrays.items():
            if name not in self._file:
                self._file.create_dataset(name, (self._count, *values.shape[1:]), values.dtype)
            self._file[name][self._done : self._done + added] = values
        self._done += added

    def dataset(self, name: str) -> h5py.Dataset:
        """What has been written under a name, (count, ...), read on demand."""
        return self._file[name]

    def finish(self, attributes: Mapping[str, Any], **arrays: NDArray | str) -> None:
        """Write what belongs to the file as a whole: attributes that reproduce the result, and further datasets."""
        for name, values in arrays.items():
            self._file[name] = values
        self._file.attrs.update(attributes)


@contextmanager
def result_file(path: Path, count: int) -> Iterator[ResultFile]:
    """A result of `count` slices or samples, which takes its name once it is whole; in fastMRI's submission format."""
    with _new_file(path) as file:
        yield ResultFile(file, path, count)


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that takes its name once it is whole.

    HDF5 writes through Python's file: where its own driver cannot write any more, on a full disk, it cannot close the
    file either, and the process crashes.
    """
    with (
        atomic_path(path) as part,
        _disk_errors(),
        part.open("w+b") as stream,
        h5py.File(stream, "w") as file,
    ):
        yield file


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Errors of the disk as OSError: after one HDF5 goes on to call Python's file, which 3.13 calls a SystemError."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def _require_finite(path: Path, **arrays: NDArray | float | None) -> None:
    for name, values in arrays.items():
        if values is not None and not np.isfinite(values).all():
            raise IahvaeError(f"{path}: not written: '{name}' holds NaN or infinity")
