"""Coil sensitivities from a file: npy, HDF5 (dataset `sensitivities`), or BART's cfl, as `bart ecalib -m 1` has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.kspace.centre_crop import crop_image
from mri_iahvae.scans.arrays import complex_array
from mri_iahvae.scans.formats.bart import bart_name, cfl_slices
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.scan import Scan, to_complex64
from mri_iahvae.scans.whitening import mixed

MAPS = "sensitivities"
"""Name of the dataset in an HDF5 file, of a result too."""


@dataclass(frozen=True, eq=False)
class CoilMaps:
    """Sensitivities of the coils of a scan, on the grid of its image: see `open_coil_maps`."""

    path: Path
    scan: Scan
    geometry: Geometry

    def read(self, chosen: slice) -> NDArray[np.complex64]:
        """Of consecutive slices, or of all at once: complex64 (n or 1, coils, rows, width), at the size of the field.

        They go with the coils as the scan has them: where those are whitened, so are the maps.

        Raises:
            ScanError: values that are not finite, or all zero; or the file changed.
        """
        with self._stored() as stored:
            values = np.asarray(stored[chosen] if stored.ndim == 4 and len(stored) > 1 else stored)
        maps = to_complex64(crop_image(values.reshape(-1, *values.shape[-3:]), *self.geometry.field))
        for number, one in enumerate(maps, chosen.start if len(maps) > 1 else 0):
            if not np.isfinite(one).all() or not one.any():
                found = "nothing but zeros" if np.isfinite(one).all() else "NaN or infinity"
                raise unusable(self.path, "finite sensitivities", f"{found} in set {number}", "correct them")
        if self.scan.whitening is None:
            return maps
        return mixed(self.scan.whitening, maps)

    def _stored(self) -> Any:  # noqa: ANN401 - a context manager of an array or a dataset
        shapes = "(coils, height, width) or (slices, coils, height, width)"
        return complex_array(self.path, MAPS, (3, 4), shapes, cfl_slices)

    def require_fitting(self) -> None:
        """Refuse a file of another size.

        Raises:
            ScanError: it does not hold the coils of each slice, or of all slices at once, at the size of k-space, with
                or without readout oversampling.
        """
        scan, sizes = self.scan, dict.fromkeys((self.geometry.native, self.geometry.field))
        with self._stored() as stored:
            shape = tuple(stored.shape)
        counts = {1, scan.slices}
        if shape[-3] != scan.coils or shape[-2:] not in sizes or (len(shape) == 4 and shape[0] not in counts):
            height, width = zip(*sizes, strict=True)
            rows = " or ".join(map(str, height))
            slices = f"(1 or {scan.slices}, " if scan.slices > 1 else "("
            wanted = f"sensitivities {slices}{scan.coils}, {rows}, {width[0]}), as {scan.path} has them"
            raise unusable(self.path, wanted, f"shape {shape}", "give the maps of that scan")


def open_coil_maps(path: Path, scan: Scan, geometry: Geometry) -> CoilMaps:
    """Check a file of sensitivities.

    It holds complex numbers (coils, height, width), the same for all slices, or (slices, coils, height, width), of any
    scale, of the coils as the scan's file has them, the image's centre at n // 2.

    Raises:
        ScanError: one line with the file, what was expected, and what was found.
    """
    maps = CoilMaps(bart_name(path), scan, geometry)
    maps.require_fitting()
    return maps


def as_stored(maps: NDArray[np.complex64], scan: Scan) -> NDArray[np.complex64]:
    """Sensitivities (n, coils, rows, width) of the coils of a scan as those of the coils of its file."""
    return maps if scan.whitening is None else mixed(np.linalg.inv(scan.whitening), maps)
