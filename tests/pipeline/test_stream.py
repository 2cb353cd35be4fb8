"""A scan from file to file in groups of slices: nothing depends on the grouping, and coils go their own way."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.pipeline.output import Outputs
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.scans.reader import Reading, open_scan
from mri_iahvae.scans.undersampling import Sampling
from mri_iahvae.tasks.reconstruct import reconstruct

SETTINGS = InferenceSettings("amortized")


@pytest.fixture
def run(loaded, tmp_path):
    """Runs a file in groups of some slices; gives report and datasets."""
    done = []

    def make(path, request=None, settings=SETTINGS, name="out"):
        done.clear()
        target = tmp_path / name / path.name
        report = run_file(loaded, path, target, request or Request(), settings, lambda *_: done.append)
        assert sum(done) == pytest.approx(report["slices"])
        with h5py.File(target) as file:
            return report, {key: values[()] for key, values in file.items()}

    return make


@pytest.mark.parametrize("settings", [SETTINGS, InferenceSettings(steps=2, samples=2, seed=3)])
def test_groups_make_no_difference(run, make_scan, settings):
    path = make_scan(slices=5, reference=True, noise=0.01)
    with h5py.File(path, "r+") as file:
        file["kspace"][3] = 0
    request = Request("reconstruct", Sampling(acceleration=2), up_to=16)
    whole, expected = run(path, request, settings, "whole")
    for batch in (1, 2):
        report, found = run(path, replace(request, batch=batch), settings, f"by{batch}")
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=1e-5 * np.nanmax(np.abs(values)))
        assert report["scores"]["reconstruction"] == pytest.approx(
            whole["scores"]["reconstruction"], rel=1e-3
        )
        assert report["scores"]["zero-filled"] == pytest.approx(whole["scores"]["zero-filled"], rel=1e-5)
        assert report["fraction_measured"] == pytest.approx(whole["fraction_measured"])
        assert report["warnings"] == whole["warnings"]
        (zero_signal,) = (line for line in report["warnings"] if "no signal" in line)
        assert zero_signal.endswith("slice 3: left zero")


@pytest.mark.parametrize("source", ["estimate", "relative", "file", "option"])
def test_the_noise_level_does_not_depend_on_groups(run, make_scan, source):
    levels = {} if source != "file" else {"noise_sigma": np.linspace(1e-7, 5e-7, 5)}
    path = make_scan(slices=5, size=64, noise=0.05, **levels)
    given = {"relative": {"relative_sigma": 0.2}, "option": {"sigma": 3e-7}}.get(source, {})
    request = Request("denoise", **given)
    whole, expected = run(path, request, name="whole")
    single, found = run(path, replace(request, batch=1), name="single")
    assert whole["noise_source"] == single["noise_source"] == source
    assert single["noise_sigma"] == pytest.approx(whole["noise_sigma"], rel=1e-6)
    np.testing.assert_allclose(
        found["image"], expected["image"], rtol=2e-3, atol=1e-5 * np.abs(expected["image"]).max()
    )


@pytest.mark.parametrize("coils", [1, 2])
def test_each_slice_is_taken_by_its_own_mask(run, make_scan, tmp_path, coils):
    """As if it were alone; the result holds the masks, which serve as --mask again."""

    def write(name, values):
        with h5py.File(tmp_path / name, "w") as file:
            file["kspace"] = values
        return tmp_path / name

    kspace = open_scan(make_scan(slices=3, noise=0.01)).read(slice(None))
    kspace = np.stack([kspace, 1j * kspace], 1)[:, :coils]
    masks = np.random.default_rng(0).random((3, 32)) < 0.4
    masks[:, 12:20] = True
    each = write("each.h5", np.where(masks[:, None, None], kspace, 0))
    report, found = run(each, Request(batch=2), name="together")
    np.testing.assert_array_equal(found["mask"], masks)
    assert any("differ from slice to slice" in text for text in report["warnings"])
    close = {"atol": 1e-4 * np.abs(found["image"]).max()}
    for number, mask in enumerate(masks):
        _, alone = run(write("alone.h5", np.where(mask, kspace[number], 0)[None]), name="alone")
        np.testing.assert_allclose(found["image"][number], alone["image"][0], **close)
    request = Request(sampling=Sampling(tmp_path / "together" / "each.h5"))
    _, again = run(write("whole.h5", kspace), request, name="again")
    np.testing.assert_allclose(again["image"], found["image"], **close)


def test_a_spike_is_left_out_unless_it_is_to_stay(run, make_scan):
    path = make_scan(slices=3, noise=0.001)
    _, clean = run(path)
    with h5py.File(path, "r+") as file:
        file["kspace"][1, 3, 20] += np.abs(file["kspace"][1]).max()
    report, found = run(path)
    (text,) = (text for text in report["warnings"] if "spike" in text)
    assert "(slice 1, row 3, column 20); taken as not measured; --keep-outliers keeps it" in text
    assert np.argwhere(~found["mask"]).tolist() == [[1, 3, 20]]
    assert np.linalg.norm(found["image"] - clean["image"]) < 0.05 * np.linalg.norm(clean["image"])
    report, kept = run(path, Request(reading=Reading(keep_outliers=True)))
    assert kept["mask"].all()
    assert np.linalg.norm(kept["image"] - clean["image"]) > 0.2 * np.linalg.norm(clean["image"])
    assert report["options"]["keep_outliers"] is True


def test_data_that_contradict_themselves_are_not_computed_with(run, make_scan):
    path = make_scan(noise=0.001)
    _, wanted = run(path)
    with h5py.File(path, "r+") as file:
        file["kspace"][:] = np.fft.ifftshift(file["kspace"], axes=(-2, -1))
    with pytest.raises(ScanError, match="--fftshift both moves it there"):
        run(path)
    _, found = run(path, Request(reading=Reading(fftshift="both")))
    np.testing.assert_array_equal(found["image"], wanted["image"])


def test_kspace_of_another_name_is_read_with_what_lies_beside_it(run, make_scan):
    path = make_scan(reference=True, mask=np.arange(32) % 4 > 0)
    report, wanted = run(path)
    with h5py.File(path, "r+") as file:
        for name in list(file):
            file.move(name, f"scan/data/{name}")
        file.move("scan/data/kspace", "scan/data/ksp")
    with pytest.raises(ScanError, match=r"no such dataset, but .*'scan/data/ksp' \(2, 32, 32\) complex64"):
        run(path)
    again, found = run(path, Request(reading=Reading("scan/data/ksp")))
    np.testing.assert_array_equal(found["image"], wanted["image"])
    assert (again["scores"], again["mask_source"]) == (report["scores"], "file")


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("height", [64, 32])
def test_completed_kspace_is_written_as_the_input_has_it(run, make_scan, tmp_path, coils, height):
    """Measured bins to the bit, with readout oversampling where there is some; the image is that of this k-space."""
    small = open_scan(make_scan(slices=2, noise=0.001, scale=1e-3)).read(slice(None))
    images = np.zeros((2, height, 32), np.complex64)
    top = (height - 32) // 2
    images[:, top : top + 32] = ifft2c(torch.from_numpy(small)).numpy()
    images = np.stack([images * phase for phase in np.exp(1j * np.arange(coils))], 1)
    mask = np.arange(32) % 2 == 0
    mask[12:20] = True
    kspace = np.where(mask, fft2c(torch.from_numpy(images.astype(np.complex64))).numpy(), 0)
    header = make_header(height, 32)
    with h5py.File(tmp_path / "under.h5", "w") as file:
        file["kspace"] = kspace if coils > 1 else kspace[:, 0]
        file["ismrmrd_header"] = header
        file.attrs["acquisition"] = "CORPD_FBK"
    _, found = run(tmp_path / "under.h5", Request(outputs=Outputs(write_kspace=True)))
    assert (found["kspace"].shape, found["kspace"].dtype) == (
        (kspace if coils > 1 else kspace[:, 0]).shape,
        np.complex64,
    )
    assert found["ismrmrd_header"].decode() == header
    with h5py.File(tmp_path / "out" / "under.h5") as file:
        assert file.attrs["acquisition"] == "CORPD_FBK"
    written = found["kspace"].reshape(kspace.shape)
    np.testing.assert_array_equal(written[..., mask], kspace[..., mask])
    assert np.abs(written[..., ~mask]).max() > 0
    image = np.linalg.norm(ifft2c(torch.from_numpy(written)).numpy()[:, :, top : top + 32], axis=1)
    np.testing.assert_allclose(image, found["reconstruction"], atol=1e-4 * image.max())


def make_header(height, width):
    space = "<matrixSize><x>{}</x><y>{}</y><z>1</z></matrixSize>"
    return (
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>'
        f"<encodedSpace>{space.format(height, width)}</encodedSpace><reconSpace>{space.format(32, 32)}</reconSpace>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )


def test_a_damaged_slice_late_in_the_volume_leaves_nothing(run, make_scan, tmp_path):
    path = make_scan(slices=5)
    with h5py.File(path, "r+") as file:
        file["kspace"][4, 3, 3] = np.nan
    with pytest.raises(ScanError, match="slice 4"):
        run(path, Request("reconstruct", batch=2))
    assert not list(tmp_path.glob("out/*"))


def test_slices_to_show_are_checked_before_anything_is_computed(run, make_scan, tmp_path):
    with pytest.raises(UsageError, match=r"--slices 5: .*scan.h5 has slices 0 to 1"):
        run(make_scan(), Request("reconstruct", outputs=Outputs(slices=(0, 5))))
    assert not list(tmp_path.glob("out/*"))


@pytest.fixture
def coil_scan(make_scan, coil_kspace):
    """Four coils that see the slices of a scan; with the root of the sum of their squares."""
    path = make_scan("coils.h5")
    with h5py.File(path, "r+") as file:
        file["reconstruction_rss"] = ifft2c(torch.from_numpy(file["kspace"][()])).abs().numpy()
        del file["kspace"]
        file["kspace"] = 1e-5 * coil_kspace()
    return path


def test_coils_are_combined(run, coil_scan):
    report, found = run(coil_scan)
    assert (report["coils"], report["coil_combine"]) == (4, "rss")
    with h5py.File(coil_scan) as file:
        rss = file["reconstruction_rss"][()]
    np.testing.assert_allclose(found["reconstruction"], rss, atol=1e-5 * rss.max())  # everything is measured
    assert report["scores"]["reconstruction"]["nmse"] < 1e-9
    undersampled, _ = run(coil_scan, Request("reconstruct", Sampling(acceleration=2, center_fraction=0.4)))
    assert undersampled["scores"]["reconstruction"]["nmse"] < undersampled["scores"]["zero-filled"]["nmse"]
    weighted, other = run(coil_scan, Request("reconstruct", coil_combine="sensitivity"))
    assert weighted["coil_combine"] == "sensitivity"
    assert np.abs(other["reconstruction"] - found["reconstruction"]).max() > 0


def test_what_coils_do_not_allow_is_refused(run, coil_scan, make_scan):
    with pytest.raises(UsageError, match=r"--data-consistency none: .*coils\.h5 holds 4 coils"):
        run(coil_scan, settings=InferenceSettings(data_consistency="none"))
    with pytest.raises(UsageError, match=r"--coil-combine rss: .*scan\.h5 holds a single coil"):
        run(make_scan(), Request("reconstruct", coil_combine="rss"))
    with pytest.raises(UsageError, match=r"--sensitivities maps\.npy: .*scan\.h5 holds a single coil"):
        run(make_scan(), Request("reconstruct", sensitivities=Path("maps.npy")))
    with pytest.raises(UsageError, match=r"--write-sensitivities: .*scan\.h5 holds a single coil"):
        run(make_scan(), Request("reconstruct", outputs=Outputs(write_sensitivities=True)))


UNDERSAMPLED = Sampling(acceleration=2, center_fraction=0.4)


def test_samples_of_coils_are_written(run, coil_scan):
    report, found = run(
        coil_scan, Request("reconstruct", UNDERSAMPLED, keep_samples=True), InferenceSettings(samples=2)
    )
    assert (report["samples"], report["method"]) == (2, "guide")
    assert found["samples"].shape == (2, 2, 32, 32)
    assert found["reconstruction_std"].max() > 0
    _, alone = run(coil_scan, Request("reconstruct", UNDERSAMPLED))
    np.testing.assert_array_equal(found["image"], alone["image"])


@pytest.mark.parametrize("whitened", [False, True])
def test_sensitivities_that_are_written_can_be_read(run, coil_scan, tmp_path, rng, whitened):
    """The same result by them, whitened or not: they are those of the coils as the file has them."""
    noise = None
    if whitened:
        noise = tmp_path / "noise.npy"
        gains = 1e-8 * np.array([1, 2, 3, 4])[:, None]
        np.save(noise, gains * (rng.normal(size=(4, 500)) + 1j * rng.normal(size=(4, 500))))
    request = Request("reconstruct", UNDERSAMPLED, noise_scan=noise, coil_combine="sensitivity")
    first, found = run(coil_scan, replace(request, outputs=Outputs(write_sensitivities=True)))
    assert found["sensitivities"].shape == (2, 4, 32, 32)
    assert first["options"]["write_sensitivities"]
    (tmp_path / "first.h5").write_bytes(Path(first["output"]).read_bytes())
    again, same = run(coil_scan, replace(request, sensitivities=tmp_path / "first.h5"))
    assert again["options"]["sensitivities"].startswith("first.h5, sha256 ")
    assert "sensitivities" not in same
    np.testing.assert_allclose(same["reconstruction"], found["reconstruction"], rtol=1e-2, atol=1e-7)
    if whitened:
        assert again["options"]["noise_scan"].startswith("noise.npy, sha256 ")
        assert again["notes"] == "4 coils are prewhitened by 500 samples of noise.npy"
        assert again["noise_source"] == "file"
        assert again["noise_sigma"] == pytest.approx(1e-8 * 24**0.25, rel=0.1)


def test_a_reference_of_other_coils_does_not_score_whitened_ones(run, coil_scan, tmp_path, rng):
    """All k-space of the whitened coils does, where it is there."""
    noise = tmp_path / "noise.npy"
    np.save(noise, 1e-7 * (rng.normal(size=(4, 500)) + 1j * rng.normal(size=(4, 500))))
    report, _ = run(coil_scan, Request("reconstruct", UNDERSAMPLED, noise_scan=noise))
    assert report["scored_against"] == "the image of all its k-space"
    stored, _ = run(coil_scan, Request("reconstruct", UNDERSAMPLED))
    assert stored["scored_against"] == "its reference"


def test_own_sensitivities_need_no_calibration_lines(run, coil_scan, coil_maps, tmp_path):
    np.save(tmp_path / "mask.npy", np.arange(32) % 2 == 1)
    np.save(tmp_path / "maps.npy", coil_maps(4, 32, 32))
    sampling = Sampling(mask_path=tmp_path / "mask.npy")
    with pytest.raises(ScanError, match="coil sensitivities need"):
        run(coil_scan, Request("reconstruct", sampling))
    report, _ = run(coil_scan, Request("reconstruct", sampling, sensitivities=tmp_path / "maps.npy"))
    assert report["fraction_zero"] == 0


def test_the_slice_without_calibration_lines_is_named(run, coil_scan, tmp_path):
    masks = np.stack([np.arange(32) >= 0, np.arange(32) % 2 == 1])
    np.save(tmp_path / "masks.npy", masks)
    with pytest.raises(ScanError, match=r"coils\.h5: slice 1: coil sensitivities need"):
        run(coil_scan, Request("reconstruct", Sampling(mask_path=tmp_path / "masks.npy")))


@pytest.mark.parametrize("name", ["sigma", "relative_sigma"])
def test_no_noise_of_several_coils_is_refused(run, coil_scan, name):
    """It would be taken for a level that is not known."""
    with pytest.raises(
        UsageError, match=f"--{name.replace('_', '-')} 0: .* 4 coils, whose noise is estimated"
    ):
        run(coil_scan, Request("denoise", **{name: 0.0}))


@pytest.mark.parametrize(("level", "used"), [(0.25, 0.0), (0.5, 0.5)])
def test_noise_over_a_part_of_the_rms_is_weighed_in(run, make_scan, rms_of, level, used):
    """Under hard consistency too: measured bins stay, and what is completed depends on it."""
    path = make_scan(slices=1, mask=np.arange(32) % 3 > 0)
    sigma = level * rms_of(path)
    with h5py.File(path, "a") as file:
        file.attrs["noise_sigma"] = sigma
    report, found = run(path, Request(), InferenceSettings("guide"))
    assert report.get("noise_sigma", 0.0) == pytest.approx(used / level * sigma)
    with h5py.File(path, "a") as file:
        file.attrs["noise_sigma"] = 0.0
    _, without = run(path, Request(), InferenceSettings("guide"))
    assert np.array_equal(found["image"], without["image"]) == (used == 0)


@pytest.fixture
def rms_of():
    """Root mean square of the measured bins of a file, the others counted as zero."""

    def rms(path):
        scan = open_scan(path)
        return float(np.sqrt(np.mean(np.abs(scan.read(slice(None))) ** 2)))

    return rms


def test_file_and_array_agree(run, make_scan, checkpoint):
    path = make_scan(slices=3, mask=np.arange(32) % 3 > 0)
    with h5py.File(path, "a") as file:
        file.attrs["noise_sigma"] = 0.0
    report, found = run(path, Request(batch=2, up_to=16), InferenceSettings(steps=2))
    scan = open_scan(path)
    options = {"steps": 2, "batch": 2, "up_to": "16", "checkpoint": checkpoint, "device": "cpu"}
    result = reconstruct(scan.read(slice(None)), scan.mask, **options)
    assert report["fraction_measured"] == result.fractions["measured"]
    np.testing.assert_array_equal(found["image"], result.image)


def test_slices_in_place_of_coils_are_named(run, tmp_path, rng):
    """Objects that differ, one upon the other."""
    y, x = np.mgrid[:48, :48] - 24
    images = np.stack(
        [(np.hypot(y - a, x - b) < 18) * rng.random((48, 48)) for a, b in ((0, 0), (1, 2), (-2, 1))]
    )
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = fft2c(torch.from_numpy(images)).numpy()[None].astype(np.complex64)
    report, _ = run(tmp_path / "scan.h5", Request(), InferenceSettings())
    assert any("the 3 coils show different objects" in warning for warning in report["warnings"])
