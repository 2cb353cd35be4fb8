"""Other formats than fastMRI's, as a user runs them."""

import json
import shutil

import ismrmrd
import nibabel
import numpy as np
import pytest

from mri_iahvae.scans.reader import open_scan

ROTATED = np.array([[0.0, -0.5, 0.6, 10], [0.8, 0.1, -3, -20], [0.6, 0.2, 4, 30], [0, 0, 0, 1]])
MRD = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize></reconSpace>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def write_npy(folder, kspace):
    np.save(folder / "scan.npy", kspace)
    return folder / "scan.npy"


def write_bart(folder, kspace):
    slices, height, width = kspace.shape
    dims = [height, width, *[1] * 11, slices, 1, 1]
    (folder / "scan.hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    kspace.transpose(1, 2, 0).ravel(order="F").tofile(folder / "scan.cfl")
    return folder / "scan.cfl"


def write_mrd(folder, kspace):
    with ismrmrd.Dataset(str(folder / "scan.mrd"), mode="w") as file:
        file.write_xml_header(MRD)
        for number, one in enumerate(kspace):
            for column in range(one.shape[1]):
                line = ismrmrd.Acquisition.from_array(
                    one[None, :, column].copy(), center_sample=len(one) // 2
                )
                line.idx.slice, line.idx.kspace_encode_step_1 = number, column
                file.append_acquisition(line)
    return folder / "scan.mrd"


def write_bart_by_its_header(folder, kspace):
    return write_bart(folder, kspace).with_suffix(".hdr")


def write_bart_by_its_bare_name(folder, kspace):
    """As BART's own commands take it."""
    return write_bart(folder, kspace).with_suffix("")


@pytest.mark.parametrize(
    "write", [write_npy, write_bart, write_bart_by_its_header, write_bart_by_its_bare_name, write_mrd]
)
def test_formats_of_kspace_give_what_hdf5_gives(cli, make_scan, tmp_path, outputs, read, write):
    """A file in each format, with the same name, seed and options."""
    source, options = make_scan("scan.h5", size=32), ("--up-to", "8x8", "--quality", "fast")
    assert cli("reconstruct", source, *options).exit_code == 0
    wanted = read()[0]["image"]
    shutil.rmtree(tmp_path / "out")
    result = cli("reconstruct", write(tmp_path, open_scan(source).read(slice(None))), *options)
    assert result.exit_code == 0, result.output
    assert outputs() == ["scan.h5", "scan_kspace.png", "scan_report.json"]
    np.testing.assert_allclose(read()[0]["image"], wanted, atol=1e-6 * np.abs(wanted).max())


@pytest.fixture
def make_nifti(tmp_path):
    """Writes a head of odd size with a rotated affine, and returns the path."""

    def make(name="head.nii.gz", dtype=np.float32):
        i, j = np.mgrid[:33, :35]
        disc = ((i - 15) / 12) ** 2 + ((j - 18) / 14) ** 2 < 1
        voxels = np.stack([(100 + n) * disc + 50 * (i < 12) * disc for n in range(2)], axis=-1)
        phase = np.exp(0.3j) if np.dtype(dtype).kind == "c" else 1
        nibabel.save(nibabel.Nifti1Image((phase * voxels).astype(dtype), ROTATED), tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_denoised_nifti_lies_where_the_input_lay(cli, make_nifti, tmp_path, outputs, dtype):
    """Data consistency returns the very image, voxel for voxel."""
    path = make_nifti(dtype=dtype)
    result = cli("denoise", path, "--nifti", "--sigma", 0.5, "--data-consistency", "hard")
    assert result.exit_code == 0, result.output
    assert outputs() == ["head.h5", "head.nii.gz", "head_kspace.png", "head_report.json"]
    before, after = nibabel.load(path), nibabel.load(tmp_path / "out" / "head.nii.gz")
    np.testing.assert_allclose(after.affine, ROTATED, atol=1e-6)
    assert nibabel.aff2axcodes(after.affine) == nibabel.aff2axcodes(before.affine)
    np.testing.assert_allclose(after.get_fdata(), np.abs(np.asarray(before.dataobj)), atol=1e-3)
    assert ("zero phase is assumed" in result.output) == (dtype == np.float32)


def test_reconstruct_undersamples_an_image(cli, make_nifti):
    assert "so the result is the data" in cli("reconstruct", make_nifti()).stderr
    report = json.loads(cli("reconstruct", make_nifti(), "--json", "--acceleration", 4).stdout)["files"][0]
    assert report["fraction_measured"] < 0.6
    assert report["fraction_completed"] > 0.3


def test_a_folder_of_formats_and_names_that_clash(cli, make_nifti, make_scan, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    make_nifti("scans/a.nii.gz")
    make_scan("scans/b.h5", size=32)
    np.save(folder / "mask.npy", np.ones(32, bool))  # no scan unless it is named
    result = cli("reconstruct", folder, "--up-to", "8x8")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").glob("*.h5")) == ["a.h5", "b.h5"]
    make_scan("scans/a.h5", size=32)
    result = cli("reconstruct", folder)
    assert result.exit_code == 2
    assert "a.h5 and" in result.stderr
    assert "overwrite each other" in result.stderr
