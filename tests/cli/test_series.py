"""`reconstruct --series` as a user runs it."""

import h5py
import numpy as np
from PIL import Image

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


def test_other_methods_do_not_ask_for_it(reconstruct, make_scan):
    assert reconstruct(make_scan(), "--method", "iterative", "--acceleration", 4).exit_code == 0


def test_refusals(reconstruct, make_scan, expect_error):
    path = make_scan(coils=2)
    expect_error(reconstruct(path, *FAST, "--series", "--acceleration", 4), 1, "--series", "2 coils")
    expect_error(reconstruct(make_scan(), "--method", "iterative", "--series"), 2, "--series does not apply")
