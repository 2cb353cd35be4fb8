"""ISMRMRD (MRD) raw data: Cartesian 2-D scans, put together line by line.

Vendors' raw data reach this format through siemens_to_ismrmrd, ge_to_ismrmrd, philips_to_ismrmrd and
bruker_to_ismrmrd. The `ismrmrd` package knows the layout of a record and its flags; the file itself is read behind
this tool's guard, which the package lacks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.mrd_acquisitions import Slice, imaging_slices, line_samples
from mri_iahvae.scans.formats.mrd_affine import in_order, native_affine
from mri_iahvae.scans.formats.mrd_averages import averages_doubts
from mri_iahvae.scans.formats.mrd_noise import dwell_time, measured_noise
from mri_iahvae.scans.formats.mrd_selection import (
    Choice,
    acquisition_heads,
    chosen_acquisitions,
    image_encoding,
    image_lines,
)
from mri_iahvae.scans.header import Header, parse_header
from mri_iahvae.scans.inferred_mask import acquired_columns
from mri_iahvae.scans.safety.hdf5 import dataset, dataset_text, group, guarded_file
from mri_iahvae.scans.safety.limits import require_size
from mri_iahvae.scans.scan import KSPACE, Scan, Source, file_changed
from mri_iahvae.scans.whitening import whitened

_GROUP = "dataset"


@dataclass(frozen=True, eq=False)
class MRDSource(Source):
    """Arrays of an ISMRMRD file of so many records, each (coils, height, width); it is opened for each call."""

    path: Path
    slices: Sequence[Slice] = field(repr=False)
    shape: tuple[int, int, int]
    records: int
    group: str

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`. Lines that were acquired several times are averaged."""
        with guarded_file(self.path) as file:
            _, data = _datasets(self.path, file, self.group)
            if data.shape != (self.records,):
                raise file_changed(self.path)
            for number in numbers:
                bins = np.zeros(self.shape, np.complex64)
                # What is not finite is refused by the caller.
                with np.errstate(over="ignore", invalid="ignore"):
                    for run in self.slices[number].runs():
                        # Whole records, as h5py leaks the variable-length parts of those that it reads in part.
                        records = data[run[0].record : run[-1].record + 1]["data"]
                        for line, values in zip(run, records, strict=True):
                            shape = self.shape[0], line.stored
                            samples = line_samples(self.path, line.record, values, shape)[:, line.samples]
                            bins[:, line.rows, line.column] += samples[:, :: line.step]
                    bins /= np.maximum(self.slices[number].times(self.shape[1:]), 1)
                    yield bins


def mrd_group(path: Path, name: str | None = None) -> str | None:
    """The group of an HDF5 file that holds ISMRMRD raw data; None where there is none.

    That is a group of this name, or of which this is the dataset `data`; without a name `dataset`, where no k-space
    lies at the root, and the group has the header or the acquisitions.
    """
    wanted = _GROUP if name is None else name.strip("/").removesuffix("/data")
    with guarded_file(path) as file:
        inside = group(file, wanted)
        if "/" in wanted or (name is None and KSPACE in file) or inside is None:
            return None
        if name is None and not {"xml", "data"} & set(inside):
            return None
    return wanted


def open_mrd(path: Path, name: str, select: Choice) -> Scan:
    """Check a file and describe it; `select` chooses the lines of the image.

    It is HDF5 with the group `name`, in it `xml` (the header) and `data` (the acquisitions): one 2-D image per
    slice, Cartesian; the readout becomes rows, kspace_encode_step_1 columns. The encoding that the lines refer to
    counts, and lengths, not matrices. Slices are in the order of position where the file states it, else of their
    numbers. What no line covers is unmeasured; symmetric gaps at both sides are padding. By noise lines coils are
    prewhitened, and the noise level is known.
    """
    with guarded_file(path) as file:
        xml, data = _datasets(path, file, name)
        heads = acquisition_heads(path, data)
        records, choice_warnings = chosen_acquisitions(path, heads, select)
        header = _header(path, xml, image_encoding(path, heads[records]))
        chosen, left_out = image_lines(path, heads[records], header, select)
        lines = heads[records[chosen]]
        header = _as_stored(header, lines)
        slices, coils, warnings = imaging_slices(path, lines, records[chosen], header)
        noise = measured_noise(path, data, heads, lines)
        doubts = averages_doubts(path, data, slices, coils, header.encoded[1] // 2)
    slices, order_warnings = in_order(slices)
    height, width = size = header.encoded
    found = f"{len(slices)} slices of {coils} coils, {height}x{width}"
    require_size(path, (len(slices), coils, *size), found)
    times = np.stack([one.times(size) for one in slices])
    masks = times > 0
    # What averaging leaves of the variance of noise, in the mean over the bins of each slice.
    averaged = np.array([float((1 / own[own > 0]).mean()) for own in times])
    # Encoding limits distinguish gaps of undersampling from padding.
    filled: NDArray[np.bool_] = np.asarray(masks.any(axis=(0, 1)))
    if header.padding:
        filled[slice(*header.padding)] = True
    acquired = acquired_columns(filled)
    source: Source = MRDSource(path, slices, (coils, *size), len(heads), name)
    if noise.whitening is not None:
        source = whitened(source, noise.whitening)
    dwell = dwell_time(lines)
    return Scan(
        path=path,
        slices=len(slices),
        coils=coils,
        height=height,
        width=width,
        mask=masks[0] if (masks == masks[0]).all() else masks,
        mask_source="full" if masks[..., slice(*acquired)].all() else "file",
        source=source,
        acquired=acquired,
        noise_sigma=None if noise.sigma is None else noise.sigma * np.sqrt(averaged),
        whitening=noise.whitening,
        dwell=None if dwell is None else dwell / averaged,
        header=header,
        image=header.image,
        voxel=header.voxel,
        affine=native_affine(slices, header),
        warnings=(
            *(*header.warnings, *_lengths(header), *choice_warnings, *left_out),
            *_slices_missing(header, len(slices)),
            *(*warnings, *doubts, *order_warnings, *noise.warnings),
        ),
        notes=noise.notes,
    )


def _datasets(path: Path, file: h5py.File, name: str) -> tuple[h5py.Dataset, h5py.Dataset]:
    """The header and the acquisitions."""
    inside = group(file, name)
    xml, data = (None, None) if inside is None else (dataset(inside, "xml"), dataset(inside, "data"))
    if xml is None or data is None:
        wanted = f"ISMRMRD raw data, '{name}/xml' and '{name}/data'"
        raise unusable(path, wanted, "one of them missing", "does the file hold images alone? convert again")
    return xml, data


def _header(path: Path, stored: h5py.Dataset, number: int) -> Header:
    """The header of one encoding of a Cartesian scan."""
    try:
        header = parse_header(dataset_text(stored), number)
    except ValueError as error:
        raise unusable(path, "an ISMRMRD header in 'xml'", str(error), "convert the file again") from error
    if header.trajectory == "epi":
        advice = "correct ghosts and grid it first, as Gadgetron does, and denoise the image as NIfTI"
        raise unusable(path, "one line per echo", "an echo-planar trajectory", advice)
    header.require_cartesian(path)
    if header.multiband > 1:
        found = f"{header.multiband} together (multiband)"
        raise unusable(path, "slices excited one by one", found, "separate them first, as Gadgetron does")
    return header


def _as_stored(header: Header, lines: NDArray) -> Header:
    """The header of lines whose readout oversampling was removed after it was written, as Gadgetron does."""
    (height, width), count = header.encoded, header.recon[0]
    off = np.abs(lines["center_sample"].astype(int) - count // 2) > 1
    if count >= height or (lines["number_of_samples"] != count).any() or off.any():
        return header
    text = f"lines have {count} samples, encodedSpace {height}: readout oversampling counts as removed"
    fov = (header.recon_fov[0], *header.encoded_fov[1:])
    return replace(header, encoded=(count, width), encoded_fov=fov, warnings=(*header.warnings, text))


def _lengths(header: Header) -> Iterator[str]:
    if None in (*header.encoded_fov[:2], *header.recon_fov[:2]):
        yield "the header lacks fields of view: the image is cut by matrix sizes"


def _slices_missing(header: Header, found: int) -> Iterator[str]:
    if header.slices and found < header.slices:
        yield f"slices with lines: {found} of the header's {header.slices}; was the scan broken off?"
