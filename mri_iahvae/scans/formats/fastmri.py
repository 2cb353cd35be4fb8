"""fastMRI HDF5 files, single-coil and multi-coil: checked on opening, read slice by slice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from mri_iahvae.scans.formats.fastmri_fields import (
    HEADER,
    header_padding,
    image_size,
    kspace_dataset,
    kspace_shape,
    kspace_slice,
    read_attributes,
    read_header,
    read_mask,
    read_noise_sigma,
    reference_dataset,
)
from mri_iahvae.scans.safety.hdf5 import dataset, dataset_text, guarded_file
from mri_iahvae.scans.scan import KSPACE, Scan, Source, file_changed


@dataclass(frozen=True)
class FastMRISource(Source):
    """Arrays of a fastMRI file, which is opened for each call: it may lie on a network disk."""

    path: Path
    name: str
    slices: int
    reference_name: str | None

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        with guarded_file(self.path) as file:
            stored = kspace_dataset(file, self.name)
            if kspace_shape(stored)[0] != self.slices:
                raise file_changed(self.path)
            for number in numbers:
                yield kspace_slice(stored, number)

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.reference`."""
        with guarded_file(self.path) as file:
            stored = dataset(kspace_dataset(file, self.name).parent, self.reference_name or "")
            if stored is None or len(stored) != self.slices:
                raise file_changed(self.path)
            for number in numbers:
                yield stored[number]

    def header_text(self) -> str | None:
        """As `Source.header_text`."""
        with guarded_file(self.path) as file:
            stored = dataset(kspace_dataset(file, self.name).parent, HEADER)
            return None if stored is None else dataset_text(stored)


def open_fastmri(path: Path, name: str = KSPACE) -> Scan:
    """Check an HDF5 file and describe it; `name` is the path of the dataset of k-space, beside which all else lies.

    It has `kspace` (slices, height, width) or (slices, coils, height, width), and optionally `mask` (width,) or
    (height, width) with any axes of length 1 that `require_mask` takes, `reconstruction_esc` (several coils:
    `reconstruction_rss`), `ismrmrd_header`, and `noise_sigma`, a dataset or attribute, scalar or (slices,). Padding,
    columns that the header says were never acquired or that are empty on both sides, counts as unmeasured.
    """
    with guarded_file(path) as file:
        kspace = kspace_dataset(file, name)
        place = kspace.parent
        slices, coils, height, width = kspace_shape(kspace)
        warnings: list[str] = []
        if kspace.dtype.names == ("real", "imag"):
            _, _, height, width = kspace_shape(kspace)
            warnings.append(
                f"'{name}' may be MATLAB's, which reverses axes: the order of the file is taken, {height} rows and "
                f"{width} columns"
            )
        header = read_header(place, (height, width), warnings)
        mask, source, acquired = read_mask(place, kspace, header_padding(kspace, header, warnings), warnings)
        if not mask.any():
            warnings.append("no k-space bin is measured")
        reference = reference_dataset(place, slices, coils, warnings)
        attributes = read_attributes(file)
        return Scan(
            path=path,
            slices=slices,
            coils=coils,
            height=height,
            width=width,
            mask=mask,
            mask_source=source,
            source=FastMRISource(path, name, slices, reference and Path(reference.name).name),
            acquired=acquired,
            noise_sigma=read_noise_sigma(place, slices),
            reference=None if reference is None else reference.shape[1:],
            header=header,
            image=image_size(header, attributes),
            voxel=None if header is None else header.voxel,
            attributes=attributes,
            warnings=tuple(warnings),
        )
