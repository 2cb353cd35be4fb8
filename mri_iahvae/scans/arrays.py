"""Arrays of complex numbers that come beside a scan (coil maps, noise), as npy, HDF5 or BART; no file is trusted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.contents import foreign_content
from mri_iahvae.scans.formats.npy import npy_array, short
from mri_iahvae.scans.safety.hdf5 import dataset, dataset_list, guarded_file
from mri_iahvae.scans.scan import complex_advice, is_complex


@contextmanager
def complex_array(
    path: Path, name: str, ranks: Sequence[int], shapes: str, cfl: Callable[[Path], NDArray]
) -> Iterator[Any]:
    """An array that is indexed as NumPy's are, mapped or read on demand while the context lasts.

    Args:
        path: npy, HDF5, or BART's cfl.
        name: of the dataset in an HDF5 file.
        ranks: numbers of axes that it may have.
        shapes: of these, in words, for the error.
        cfl: reads a BART pair.

    Raises:
        ScanError: the file holds no such array.
    """
    suffix = path.suffix.lower()
    if path.is_file() and (foreign := foreign_content(path)):
        raise unusable(path, f"complex numbers, {shapes}", *foreign)
    if suffix == ".npy":
        yield npy_array(path, ranks, shapes)
    elif suffix == ".cfl":
        yield cfl(path)
    elif suffix in {".h5", ".hdf5"}:
        with guarded_file(path) as file:
            stored, wanted = dataset(file, name), f"a dataset '{name}' of complex numbers, {shapes}"
            if stored is None:
                raise unusable(path, wanted, dataset_list(file) or "no dataset", f"name it '{name}'")
            if stored.ndim not in ranks or not is_complex(stored.dtype):
                found = f"shape {short(stored.shape)}, type {short(stored.dtype)}"
                raise unusable(path, wanted, found, complex_advice(stored.shape))
            yield stored
    else:
        wanted = "npy, HDF5 (.h5) or BART's cfl"
        raise unusable(path, wanted, f"the suffix '{suffix}'", "save it as one of them")
