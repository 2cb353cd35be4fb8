"""Arrays that lie in a file as they lie in memory: mapped, and copied slice by slice."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.scan import WithoutReference


@dataclass(frozen=True)
class MappedSource(WithoutReference):
    """k-space in a file that is mapped anew for each call.

    Attributes:
        path: the file.
        view: maps it, (slices, coils, height, width) of any strides; checks what the file says of itself.
        shape: of the view when the file was opened first.
    """

    path: Path
    view: Callable[[Path], NDArray]
    shape: tuple[int, ...]

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        with readable(self.path):
            values = self.view(self.path)
            if values.shape != self.shape:
                raise ScanError(
                    f"{self.path}: expected the file as it was opened, found it changed; run again"
                )
            for number in numbers:
                yield np.array(values[number])


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong with a file within becomes one line.

    Raises:
        ScanError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        reason = " ".join((error.strerror or str(error)).split())
        raise ScanError(f"{path}: cannot be read: {reason}; check the path") from error
