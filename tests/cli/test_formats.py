"""Other formats than fastMRI's, as a user runs them."""

import json
import shutil

import ismrmrd
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.scans.reader import open_scan
from tests.mrd_files import acquisition, lines
from tests.mrd_files import write_mrd as write_lines

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
    return write_lines(folder / "scan.mrd", lines(kspace[:, None], range(32)), MRD)


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
    assert outputs() == ["head.h5", "head.json", "head.nii.gz", "head_kspace.png", "head_report.json"]
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


@pytest.fixture
def echoes(tmp_path, head_kspace, coil_maps, rng):
    """Writes ISMRMRD data of two contrasts of a slice, the second thrice as bright, of four coils of unlike noise."""
    images = np.fft.ifftshift(np.fft.ifft2(np.fft.ifftshift(head_kspace(1, 32), axes=(1, 2))), axes=(1, 2))
    coils = np.fft.fftshift(
        np.fft.fft2(np.fft.fftshift(images * coil_maps(4, 32, 32), axes=(1, 2))), axes=(1, 2)
    )
    gains = np.array([1, 2, 4, 8])[:, None]

    def noise(*shape):
        return 0.002 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    def make(noise_lines=2):
        dwell = {"sample_time_us": 5}
        flag = [ismrmrd.ACQ_IS_NOISE_MEASUREMENT]
        made = [
            acquisition((gains * noise(4, 512)).astype(np.complex64), flags=flag, head=dwell)
            for _ in range(noise_lines)
        ]
        for contrast, factor in enumerate((1, 3)):
            noisy = factor * coils[None] + gains[:, None] * noise(1, 4, 32, 32)
            made += lines(noisy.astype(np.complex64), range(32), contrast=contrast, head=dwell)
        return write_lines(tmp_path / "scan.mrd", made, MRD)

    return make


def test_noise_lines_prewhiten_the_coils(cli, echoes, checkpoint):
    """The level is the geometric mean of the coils', and all go by it."""
    choice = ("--select", "contrast=1")
    inspected = CliRunner().invoke(
        main, ["inspect", str(echoes()), "--checkpoint", str(checkpoint), "--json", *choice]
    )
    (found,) = json.loads(inspected.stdout)["files"]
    assert found["noise"]["source"] == "file"
    assert found["noise"]["sigma"] == pytest.approx(0.002 * 2**1.5, rel=0.1)
    assert "4 coils are prewhitened by 2 noise lines" in [one["text"] for one in found["findings"]]
    report = json.loads(cli("denoise", echoes(), "--json", *choice).stdout)["files"][0]
    assert report["noise_source"] == "file"
    assert report["noise_sigma"] == pytest.approx(0.002 * 2**1.5, rel=0.1)
    assert report["notes"] == "4 coils are prewhitened by 2 noise lines"
    assert not any("prewhitened" in warning for warning in report["warnings"])


def test_separate_calibration_that_several_coils_lack_is_named(cli, tmp_path, expect_error):
    """Where every second line is measured and nothing else, in the same line as the error."""
    kspace = np.ones((1, 4, 32, 32), np.complex64)
    separate = lines(kspace, range(12, 20), flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION])
    mode = "<parallelImaging><calibrationMode>separate</calibrationMode></parallelImaging></encoding>"
    header = MRD.replace("</encoding>", mode)
    path = write_lines(tmp_path / "scan.mrd", separate + lines(kspace, range(0, 32, 2)), header)
    expect_error(cli("reconstruct", path), 1, "coil sensitivities need", "left out: 8 parallel calibration")


def test_one_of_several_contrasts(cli, echoes, read, expect_error):
    path = echoes(noise_lines=0)
    expect_error(cli("reconstruct", path), 1, "2 of `contrast` (0, 1)", "--select contrast=0")
    expect_error(cli("reconstruct", path, "--select", "contrast=2"), 1, "contrast 2", "(0, 1)")
    for wrong in (["contrast"], ["contrast=-1"], ["echo=1"], ["contrast=0", "--select", "contrast=1"]):
        expect_error(cli("reconstruct", path, "--select", *wrong), 2)
    means = []
    for choice in ("0", "1", "all"):
        result = cli("reconstruct", path, "--select", f"contrast={choice}", "--up-to", "16x16")
        assert result.exit_code == 0, result.output
        datasets, attributes = read()
        means.append(datasets["reconstruction"].mean())
        assert str(json.loads(attributes["options"])["select"]["contrast"]) == choice
    assert means[1] / means[0] == pytest.approx(3, rel=0.1)
    assert means[2] / means[0] == pytest.approx(2, rel=0.1)
