"""ISMRMRD (MRD) raw data: Cartesian 2-D scans, put together line by line.

Vendors' raw data reach this format through siemens_to_ismrmrd, ge_to_ismrmrd, philips_to_ismrmrd and
bruker_to_ismrmrd. The `ismrmrd` package knows the layout of a record and its flags; the file itself is read behind
this tool's guard, which the package lacks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.mrd_acquisitions import Line, Slice, imaging_slices
from mri_iahvae.scans.formats.mrd_affine import in_order, native_affine
from mri_iahvae.scans.formats.mrd_selection import acquisition_heads, image_encoding, image_lines
from mri_iahvae.scans.header import Header, parse_header
from mri_iahvae.scans.inferred_mask import acquired_columns
from mri_iahvae.scans.safety.hdf5 import dataset, dataset_text, group, guarded_file
from mri_iahvae.scans.safety.limits import require_size
from mri_iahvae.scans.scan import KSPACE, Scan, Source, file_changed

_GROUP = "dataset"


@dataclass(frozen=True, eq=False)
class MRDSource(Source):
    """Arrays of an ISMRMRD file of so many records, each (coils, height, width); it is opened for each call."""

    path: Path
    slices: Sequence[Slice] = field(repr=False)
    shape: tuple[int, int, int]
    records: int

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`. Lines that were acquired several times are averaged."""
        with guarded_file(self.path) as file:
            _, data = _datasets(self.path, file)
            if data.shape != (self.records,):
                raise file_changed(self.path)
            for number in numbers:
                bins = np.zeros(self.shape, np.complex64)
                times = np.zeros(self.shape[1:], np.float32)
                for run in self.slices[number].runs():
                    # Whole records, as h5py leaks the variable-length parts of those that it reads in part.
                    records = data[run[0].record : run[-1].record + 1]["data"]
                    for line, values in zip(run, records, strict=True):
                        # What is not finite is refused by the caller.
                        with np.errstate(over="ignore", invalid="ignore"):
                            samples = self._samples(values, line)[:, line.samples]
                            bins[:, line.rows, line.column] += samples[:, :: line.step]
                        times[line.rows, line.column] += 1
                yield bins / np.maximum(times, 1)

    def _samples(self, values: NDArray, line: Line) -> NDArray[np.complex64]:
        """The samples of an acquisition, (coils, samples)."""
        coils, count = self.shape[0], line.stored
        if values.dtype != np.float32 or values.shape != (2 * coils * count,):
            wanted = f"{coils} coils of {count} samples in acquisition {line.record}"
            found = f"{values.size} numbers of {values.dtype}"
            raise unusable(self.path, wanted, found, "compressed data must be expanded first")
        return values.view(np.complex64).reshape(coils, count)


def is_mrd(path: Path) -> bool:
    """Whether an HDF5 file is ISMRMRD raw data: has a group `dataset`, and no k-space at its root."""
    with guarded_file(path) as file:
        return KSPACE not in file and group(file, _GROUP) is not None


def open_mrd(path: Path) -> Scan:
    """Check a file and describe it.

    It is HDF5 with the group `dataset`, in it `xml` (the header) and `data` (the acquisitions): one 2-D image per
    slice, Cartesian; the readout becomes rows, kspace_encode_step_1 columns. The encoding that the lines refer to
    counts, and lengths, not matrices. Slices are in the order of position where the file states it, else of their
    numbers. What no line covers is unmeasured; symmetric gaps at both sides are padding.
    """
    if find_spec("ismrmrd") is None:
        raise unusable(path, "the ismrmrd package, to read raw data", "none", "pip install ismrmrd")
    with guarded_file(path) as file:
        xml, data = _datasets(path, file)
        heads = acquisition_heads(path, data)
        header = _header(path, xml, image_encoding(path, heads))
        chosen, left_out = image_lines(path, heads, header)
        slices, coils, warnings = imaging_slices(path, heads[chosen], chosen, header)
    slices, order_warnings = in_order(slices)
    height, width = size = header.encoded
    require_size(
        path, (len(slices), coils, *size), f"{len(slices)} slices of {coils} coils, {height}x{width}"
    )
    masks = np.stack([one.measured(size) for one in slices])
    # Encoding limits tell gaps of undersampling from padding.
    filled: NDArray[np.bool_] = np.asarray(masks.any(axis=(0, 1)))
    if header.padding:
        filled[slice(*header.padding)] = True
    acquired = acquired_columns(filled)
    return Scan(
        path=path,
        slices=len(slices),
        coils=coils,
        height=height,
        width=width,
        mask=masks[0] if (masks == masks[0]).all() else masks,
        mask_source="full" if masks[..., slice(*acquired)].all() else "file",
        source=MRDSource(path, slices, (coils, *size), len(heads)),
        acquired=acquired,
        header=header,
        image=header.image,
        voxel=header.voxel,
        affine=native_affine(slices, header),
        warnings=(*header.warnings, *_lengths(header), *left_out, *warnings, *order_warnings),
    )


def _datasets(path: Path, file: h5py.File) -> tuple[h5py.Dataset, h5py.Dataset]:
    """The header and the acquisitions."""
    inside = group(file, _GROUP)
    xml, data = (None, None) if inside is None else (dataset(inside, "xml"), dataset(inside, "data"))
    if xml is None or data is None:
        wanted = f"ISMRMRD raw data, '{_GROUP}/xml' and '{_GROUP}/data'"
        raise unusable(path, wanted, "one of them missing", "does the file hold images alone? convert again")
    return xml, data


def _header(path: Path, stored: h5py.Dataset, number: int) -> Header:
    """The header of one encoding of a Cartesian scan."""
    try:
        header = parse_header(dataset_text(stored), number)
    except ValueError as error:
        raise unusable(path, "an ISMRMRD header in 'xml'", str(error), "convert the file again") from error
    if header.trajectory == "epi":
        advice = (
            "correct ghosts and grid it first, for example with Gadgetron, and denoise the image as NIfTI"
        )
        raise unusable(path, "one line per echo", "an echo-planar trajectory", advice)
    header.require_cartesian(path)
    if header.multiband > 1:
        found = f"{header.multiband} together (multiband)"
        raise unusable(path, "slices excited one by one", found, "separate them first, as Gadgetron does")
    return header


def _lengths(header: Header) -> tuple[str, ...]:
    if None in (*header.encoded_fov[:2], *header.recon_fov[:2]):
        return ("the header lacks fields of view: the image is cut by matrix sizes",)
    return ()
