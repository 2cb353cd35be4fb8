"""DICOM files, read back by pydicom."""

import sys

import h5py
import nibabel
import numpy as np
import pydicom
import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.pipeline.output import Outputs
from mri_iahvae.results.dicom import write_dicom
from mri_iahvae.results.nifti import place, write_nifti
from tests.results.test_nifti import OBLIQUE, SHAPE, VOXEL

WORDS = "Reconstructed with a learned prior."


@pytest.fixture
def images(rng):
    """float32 (3, 6, 8), in fastMRI's tiny units."""
    return 1e-5 * rng.random(SHAPE).astype(np.float32)


@pytest.fixture
def written(tmp_path, images):
    """Writes a series and reads it back in the order of its numbers."""
    (tmp_path / "scan.h5").write_bytes(b"the input")

    def write(placement=None, voxel=VOXEL, values=images, source="scan.h5", derivation=WORDS):
        placement = place(voxel, OBLIQUE) if placement is None else placement
        folder = tmp_path / "scan_dicom"
        note = write_dicom(folder, values, placement, voxel, tmp_path / source, derivation)
        return [pydicom.dcmread(path) for path in sorted(folder.iterdir())], note

    return write


def test_values_come_back_to_half_a_step(written, images):
    slices, _ = written()
    assert [data.InstanceNumber for data in slices] == [1, 2, 3]
    for data, image in zip(slices, images, strict=True):
        slope = float(data.RescaleSlope)
        assert slope == pytest.approx(images.max() / 65535, rel=1e-8)
        assert data.RescaleIntercept == 0
        found = data.pixel_array * slope
        assert data.pixel_array.dtype == np.uint16
        np.testing.assert_allclose(found, image, atol=0.501 * slope)
    assert max(data.pixel_array.max() for data in slices) == 65535


def test_voxels_lie_where_nifti_has_them(written, images, tmp_path):
    slices, note = written()
    assert note == ""
    write_nifti(tmp_path / "a.nii.gz", images, place(VOXEL, OBLIQUE))
    affine = nibabel.load(tmp_path / "a.nii.gz").affine
    for k, data in enumerate(slices):
        along_row, along_column = np.reshape(data.ImageOrientationPatient, (2, 3)).astype(float)
        height, width = map(float, data.PixelSpacing)
        for i, j in ((0, 0), (7, 0), (0, 5), (3, 2)):
            lps = (
                np.array(data.ImagePositionPatient, float) + along_row * width * i + along_column * height * j
            )
            np.testing.assert_allclose(lps * (-1, -1, 1), (affine @ (i, j, k, 1))[:3], atol=1e-4)
        assert (data.Rows, data.Columns) == SHAPE[1:]
        assert (data.SliceThickness, data.SpacingBetweenSlices) == (5, pytest.approx(5))
    assert len({data.FrameOfReferenceUID for data in slices}) == 1


@pytest.mark.parametrize(
    ("voxel", "spacing"), [(VOXEL, [0.5, 1.0]), ((None, 0.5, 1.0), [0.5, 1.0]), (None, None)]
)
def test_what_is_not_known_is_not_stated(written, voxel, spacing):
    slices, note = written(place(voxel), voxel)
    for data in slices:
        assert data.get("PixelSpacing") == spacing
        assert "ImagePositionPatient" not in data
        assert "ImageOrientationPatient" not in data
        assert "FrameOfReferenceUID" not in data
        assert data.PatientOrientation == ""
    assert note == ""
    assert slices[0].get("SliceThickness") == (5 if voxel == VOXEL else None)


def test_axes_that_are_not_at_right_angles_have_no_orientation(written):
    sheared = OBLIQUE.copy()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    slices, note = written(place(VOXEL, sheared))
    assert note.startswith("rows and columns are not at right angles")
    assert "ImageOrientationPatient" not in slices[0]


def test_it_says_what_it_is_and_of_nobody(written):
    slices, _ = written()
    for data in slices:
        meta = data.file_meta
        assert meta.MediaStorageSOPClassUID == data.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert list(data.ImageType) == ["DERIVED", "SECONDARY"]
        assert data.DerivationDescription == WORDS
        assert data.ContentQualification == "RESEARCH"
        assert (data.Modality, data.ConversionType) == ("MR", "WSD")
        assert (str(data.PatientName), data.PatientIdentityRemoved) == ("ANONYMOUS", "YES")
        assert (data.PatientBirthDate, data.PatientSex, data.StudyDate) == ("", "", "")
        assert all(
            uid.is_valid for uid in (data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID)
        )
    assert len({data.SOPInstanceUID for data in slices}) == 3
    assert len({data.SeriesInstanceUID for data in slices}) == 1


def test_equal_results_are_equal_files_and_identifiers_follow_the_content(written, images, tmp_path):
    def bytes_of_all():
        return [path.read_bytes() for path in sorted((tmp_path / "scan_dicom").iterdir())]

    first, before = written()[0][0], bytes_of_all()
    with h5py.File(tmp_path / "values.h5", "w") as file:
        again = written(values=file.create_dataset("image", data=images))[0][0]
    assert bytes_of_all() == before
    other = written(derivation="By another method.")[0][0]
    assert again.SeriesInstanceUID == first.SeriesInstanceUID != other.SeriesInstanceUID
    assert first.StudyInstanceUID == other.StudyInstanceUID
    assert first.FrameOfReferenceUID == other.FrameOfReferenceUID
    (tmp_path / "scan.h5").write_bytes(b"another input")
    stranger = written()[0][0]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert stranger[name] != first[name]


def test_slices_of_a_longer_volume_go(written, images):
    written()
    slices, _ = written(values=0 * images[:2])
    assert len(slices) == 2
    assert not any(data.pixel_array.any() for data in slices)


def test_without_pydicom_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UsageError, match=r"--dicom needs pydicom: pip install 'mri-iahvae\[dicom\]'"):
        Outputs(dicom=True)


def test_only_slices_of_an_earlier_series_are_removed(written, images, tmp_path):
    written()
    (tmp_path / "scan_dicom" / "mine.dcm").write_bytes(b"somebody's")
    write_dicom(
        tmp_path / "scan_dicom", images[:1], place(VOXEL, OBLIQUE), VOXEL, tmp_path / "scan.h5", WORDS
    )
    assert sorted(path.name for path in (tmp_path / "scan_dicom").iterdir()) == ["0001.dcm", "mine.dcm"]
