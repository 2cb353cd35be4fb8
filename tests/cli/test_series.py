"""`reconstruct --series` as a user runs it."""

import h5py
import numpy as np
from PIL import Image

from mri_iahvae.results.hdf5 import write_scan

FAST = ("--quality", "fast")


def test_a_series_with_a_mask_for_each_frame(reconstruct, make_scan, outputs, read, tmp_path, rng):
    path = make_scan(slices=3)
    masks = rng.random((3, 1, 32)) < 0.3
    masks[..., 13:19] = True
    np.save(tmp_path / "masks.npy", masks)
    result = reconstruct(path, *FAST, "--series", "--mask", tmp_path / "masks.npy")
    assert result.exit_code == 0, result.output
    pictures = ["scan_cine.gif", "scan_kspace.png", "scan_profile.png"]
    assert outputs() == ["scan.h5", *pictures, "scan_report.json"]
    assert all(name in result.stdout for name in pictures)
    assert "differ from slice to slice" not in result.stderr
    stored, attributes = read()
    with h5py.File(path) as file:
        kspace = file["kspace"][()]
    measured = np.broadcast_to(masks, kspace.shape)
    image = np.fft.ifftshift(stored["image"], axes=(-2, -1))
    found = np.fft.fftshift(np.fft.fft2(image, norm="ortho"), axes=(-2, -1))
    assert np.abs((found - kspace)[measured]).max() < 1e-5 * np.abs(kspace).max()
    assert attributes["series"]
    with Image.open(tmp_path / "out" / "scan_cine.gif") as gif:
        assert gif.n_frames == 3
    # A later run without the option removes what belonged to it.
    assert reconstruct(path, *FAST, "--mask", tmp_path / "masks.npy").exit_code == 0
    assert outputs() == ["scan.h5", "scan_kspace.png", "scan_report.json"]


def test_a_folder_of_frames_is_one_series(reconstruct, make_scan, outputs, read, tmp_path, rng):
    """As the file that holds all of them, with everything beside it; a frame alone has no seed of its own."""
    with h5py.File(make_scan(slices=3)) as file:
        kspace = file["kspace"][()]
    masks = rng.random((3, 1, 32)) < 0.3
    masks[..., 13:19] = True
    kspace = np.where(masks, kspace, 0)
    write_scan(tmp_path / "scan.h5", kspace)
    folder = tmp_path / "cine"
    folder.mkdir()
    for number, frame in zip((2, 9, 10), kspace, strict=True):
        write_scan(folder / f"{number}.h5", frame[None])
    assert reconstruct(tmp_path / "scan.h5", *FAST, "--series").exit_code == 0
    result = reconstruct(folder, *FAST, "--series", "--dicom", "--nifti", "--json")
    assert result.exit_code == 0, result.output
    assert "differ from slice to slice" not in result.output
    beside = ["cine_cine.gif", "cine_dicom", "cine_kspace.png", "cine_profile.png"]
    assert [name for name in outputs() if name.startswith("cine")] == [
        "cine.h5", "cine.json", "cine.nii.gz", *beside, "cine_report.json",
    ]  # fmt: skip
    (found, stored), (expected, _) = read("cine.h5"), read()
    np.testing.assert_allclose(found["image"], expected["image"], atol=1e-5 * np.abs(expected["image"]).max())
    assert stored["input"] == "cine"
    again = reconstruct(folder, *FAST, "--series", "--dicom", "--nifti", "--skip-existing")
    assert (again.exit_code, "skipped" in again.stderr) == (0, True)
    assert "other options" not in again.stderr


def test_results_do_not_go_among_the_frames(reconstruct, make_scan, expect_error, tmp_path):
    frames = make_scan("frames/1.h5", slices=1).parent
    expect_error(reconstruct(frames, *FAST, "--series", "-o", frames), 2, "could overwrite an input")
    assert [path.name for path in frames.iterdir()] == ["1.h5"]


def test_a_folder_of_volumes_is_no_series(reconstruct, make_scan, expect_error):
    folder = make_scan("volumes/1.h5", slices=2).parent
    (folder.parent / "new").mkdir()
    for output in ("new", "new/a/b"):  # folders that it made go again, that which was there stays
        options = ("--series", "-o", folder.parent / output)
        expect_error(reconstruct(folder, *FAST, *options), 1, "1.h5: expected one slice", "found 2 slices")
        assert list((folder.parent / "new").iterdir()) == []


def test_other_methods_do_not_ask_for_it(reconstruct, make_scan):
    assert reconstruct(make_scan(), "--method", "iterative", "--acceleration", 4).exit_code == 0


def test_one_mask_for_all_frames_is_warned_of(reconstruct, make_scan):
    result = reconstruct(make_scan(), *FAST, "--series", "--acceleration", 4)
    assert result.exit_code == 0
    assert "all frames have one mask" in result.stderr


def test_several_coils_are_refused(reconstruct, tmp_path, coil_kspace, expect_error):
    write_scan(tmp_path / "scan.h5", coil_kspace(coils=2))
    result = reconstruct(tmp_path / "scan.h5", *FAST, "--series", "--acceleration", 4)
    expect_error(result, 2, "--series", "2 coils")


def test_methods_without_guide_are_refused(reconstruct, make_scan):
    result = reconstruct(make_scan(), "--method", "iterative", "--series")
    assert result.exit_code == 2
    assert "--series does not apply to --method iterative" in result.stderr


def test_a_single_frame_is_no_series(reconstruct, make_scan):
    result = reconstruct(make_scan(slices=1), *FAST, "--series", "--acceleration", 4)
    assert result.exit_code == 0
    assert "a single frame is no series" in result.stderr


def test_results_that_lack_what_is_asked_for_are_named(reconstruct, make_scan):
    path = make_scan(slices=1)
    assert reconstruct(path, *FAST, "--acceleration", 4).exit_code == 0
    result = reconstruct(
        path, *FAST, "--acceleration", 4, "--skip-existing", "--nifti", "--image-size", "16x16"
    )
    assert result.exit_code == 0
    assert "--nifti was False, now True" in result.stderr
    assert "--image-size was 32x32, now 16x16" in result.stderr


def test_another_mask_of_the_same_name_is_named(reconstruct, make_scan, tmp_path):
    path, mask = make_scan(slices=1), tmp_path / "mask.npy"
    for offset, warned in ((0, False), (0, False), (1, True)):
        np.save(mask, (np.arange(32) + offset) % 2 == 0)
        result = reconstruct(path, *FAST, "--mask", mask, "--skip-existing")
        assert result.exit_code == 0
        assert ("--mask was mask.npy, sha256 " in result.stderr) == warned
