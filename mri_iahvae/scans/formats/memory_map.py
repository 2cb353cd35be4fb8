"""Arrays that lie in a file as they lie in memory: mapped, and copied slice by slice."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason
from mri_iahvae.scans.inferred_mask import mask_from_zeros
from mri_iahvae.scans.scan import Scan, Source, file_changed


@dataclass(frozen=True)
class MappedSource(Source):
    """k-space in a file that `view` checks and maps for each call, (slices, coils, height, width), any strides."""

    path: Path
    view: Callable[[Path], NDArray]
    slices: int

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        with readable(self.path):
            values = self.view(self.path)
            if len(values) != self.slices:
                raise file_changed(self.path)
            for number in numbers:
                yield np.array(values[number])


def mapped_scan(path: Path, view: Callable[[Path], NDArray], warnings: tuple[str, ...] = ()) -> Scan:
    """Describe k-space that comes with nothing else: no mask, no header, no reference. All of it is read once."""
    slices, coils, height, width = view(path).shape
    source = MappedSource(path, view, slices)
    mask, mask_source, acquired = mask_from_zeros(source.kspace(range(slices)))
    return Scan(
        path, slices, coils, height, width, mask, mask_source, source, acquired=acquired, warnings=warnings
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Errors of the system on reading a file become one line."""
    try:
        yield
    except OSError as error:
        raise ScanError(f"{path}: cannot be read: {reason(error)}; check the path") from error
