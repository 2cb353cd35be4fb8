"""Files that are written beside a result on request, and those of them that an earlier run left."""

import json
from pathlib import Path

from mri_iahvae.errors import IahvaeError, ScanError
from mri_iahvae.scans.safety.hdf5 import guarded_file, scalar_attribute

_ENDS = {"gif": "_scales.gif", "nifti": ".nii.gz"}
KINDS = tuple(_ENDS)
"""Of such files, by the option that asks for them."""


def optional_path(result: Path, kind: str) -> Path:
    """Where a file of a kind stands beside a result."""
    return result.with_name(result.stem + _ENDS[kind])


def optional_paths(result: Path) -> set[Path]:
    """The files that were written on request beside a result: its record tells, so that they are the program's own.

    Args:
        result: HDF5 file of an earlier run; nothing is found where there is none, or another file.
    """
    try:
        with guarded_file(result) as file:
            options = json.loads(str(scalar_attribute(file, "options") or "{}"))
            return {optional_path(result, kind) for kind in KINDS if options.get(kind)}
    except (ScanError, AttributeError, RecursionError):
        return set()


def remove(paths: set[Path]) -> None:
    """Remove files of an earlier run, some of which may be gone already.

    Raises:
        IahvaeError: one that cannot be removed.
    """
    for path in sorted(paths):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise IahvaeError(
                f"{path}: of an earlier run, cannot be removed: {error.strerror}; remove it"
            ) from error
