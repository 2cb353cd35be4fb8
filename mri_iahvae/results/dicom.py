"""Volumes as DICOM: Secondary Capture images, one file for each slice, as viewers read them best.

A multi-frame file keeps positions in functional groups, which many viewers do not look for.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

import mri_iahvae
from mri_iahvae.errors import require_package
from mri_iahvae.files import atomic_path, digest, make_folder
from mri_iahvae.results.nifti import Placement
from mri_iahvae.results.paths import SLICES
from mri_iahvae.scans.scan import Voxel

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST = 2**16 - 1
_LPS = np.array([-1.0, -1.0, 1.0])  # DICOM's x runs to the patient's left, y to the back
_SQUARE = 1e-4  # cosine of the angle between rows and columns


def require_dicom() -> None:
    """Refuse, as a UsageError, to write DICOM without pydicom."""
    require_package("pydicom", "--dicom", "dicom")


def write_dicom(
    folder: Path,
    images: NDArray[np.float32] | h5py.Dataset,
    placement: Placement,
    voxel: Voxel | None,
    source: Path,
    derivation: str,
) -> str:
    """Write magnitudes (slices, H, W), an array or a dataset, as `0001.dcm`, `0002.dcm` ... of one series.

    Pixels are 16 bits, unsigned; RescaleSlope times them are the values, to half a slope. Where the placement is known
    ImagePositionPatient and ImageOrientationPatient state it, else the spacing of pixels alone, if that is known.

    No patient's data are copied: the name is ANONYMOUS, the identifier a digest of the input. Unique identifiers are
    digests too: study and frame of reference of the bytes of `source`, the series of the values and `derivation` too.
    Equal results are equal files, and results of one input lie in one study.

    Args:
        folder: that is made; files of an earlier run in it are replaced, and removed beyond the last slice.
        images: at least zero, finite.
        placement: as `place` gives it.
        voxel: of the scan.
        source: the input, a file or a folder of frames.
        derivation: how they were made, in ASCII, at most 1024 letters.

    Returns:
        A note where rows and columns of the placement are not at right angles, which DICOM cannot state; else nothing.

    Raises:
        IahvaeError: a file cannot be written.
    """
    from pydicom.uid import generate_uid  # noqa: PLC0415 - an optional extra
    from pydicom.valuerep import format_number_as_ds  # noqa: PLC0415

    study = digest(source)
    values = hashlib.sha256(derivation.encode())
    peak = 0.0
    for image in images:
        values.update(np.asarray(image).tobytes())
        peak = max(peak, float(image.max()))
    series = study + values.hexdigest()
    slope = format_number_as_ds(peak / _MOST or 1.0)
    space, note = _space(placement, voxel)
    make_folder(folder)
    paths = [folder / f"{number:04}.dcm" for number in range(1, len(images) + 1)]
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        data = _common(derivation)
        data.StudyInstanceUID = generate_uid(entropy_srcs=[study])
        data.PatientID = f"ANON-{study[:12]}"
        data.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
        data.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
        data.InstanceNumber = number + 1
        data.update(space)
        if "ImageOrientationPatient" in space:
            data.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
            data.ImagePositionPatient = _numbers(_LPS * (placement.affine @ (0, 0, number, 1))[:3])
        data.Rows, data.Columns = image.shape
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = slope, 0, "US"
        data.PixelData = np.rint(image / float(slope)).clip(0, _MOST).astype("<u2").tobytes()
        with atomic_path(path) as part:
            data.save_as(part, enforce_file_format=True)
    for old in set(folder.glob(SLICES)) - set(paths):
        old.unlink()
    return note


def _common(derivation: str) -> "Dataset":
    """What all slices of all volumes have in common; attributes that must be there may be empty."""
    from pydicom import Dataset  # noqa: PLC0415
    from pydicom.dataset import FileMetaDataset  # noqa: PLC0415
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage  # noqa: PLC0415

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.Modality, data.ConversionType = "MR", "WSD"
    data.DerivationDescription, data.ContentQualification = derivation, "RESEARCH"
    data.SeriesDescription, data.SeriesNumber = "Learned prior, research only", 1
    data.SecondaryCaptureDeviceManufacturer = "mri-iahvae"
    data.SecondaryCaptureDeviceSoftwareVersions = mri_iahvae.__version__
    data.PatientName, data.PatientIdentityRemoved = "ANONYMOUS", "YES"
    data.DeidentificationMethod = "No data of the patient were copied"
    data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = ""
    data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.BurnedInAnnotation, data.LossyImageCompression = "NO", "00"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    return data


def _space(placement: Placement, voxel: Voxel | None) -> tuple["Dataset", str]:
    """Spacings and orientation, and a note where they cannot be stated."""
    from pydicom import Dataset  # noqa: PLC0415

    data = Dataset()
    if voxel is not None and voxel[0] is not None:
        data.SliceThickness = _numbers((voxel[0],))
    steps = _LPS[:, None] * placement.affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    column, row, gap = lengths
    directions = steps / lengths
    square = abs(directions[:, 0] @ directions[:, 1]) < _SQUARE
    if placement.note or not square:
        data.PatientOrientation = ""
        if voxel is not None:
            data.PixelSpacing = _numbers(voxel[1:])
        note = "" if square else "rows and columns are not at right angles: position and orientation left out"
        return data, note
    data.PixelSpacing = _numbers((row, column))
    data.SpacingBetweenSlices = _numbers((gap,))
    data.ImageOrientationPatient = _numbers((*directions[:, 0], *directions[:, 1]))
    return data, ""


def _numbers(values: Iterable[float]) -> list[str]:
    """Decimal strings, of which DICOM takes 16 letters."""
    from pydicom.valuerep import format_number_as_ds  # noqa: PLC0415

    return [format_number_as_ds(float(value)) for value in values]
