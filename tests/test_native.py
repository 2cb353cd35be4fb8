"""Native sizes: files of fastMRI's exact schema (`benchmarks/shared/native_files.py`), against its own reader."""

import json

import h5py
import nibabel
import numpy as np
import pytest
import torch

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import OWN_SAMPLING, Sampling

SIZES = ("640x368", "640x372", "640x371", "512x320", "640x264")
AMORTIZED = InferenceSettings("amortized")
sizes = pytest.mark.parametrize("size", SIZES)
partitions = pytest.mark.parametrize("acceleration", [None, 4], ids=["train", "test"])


def result(path):
    with h5py.File(path) as file:
        return {name: values[()] for name, values in file.items()}, dict(file.attrs)


def fastmri_samples(path, transform=None, challenge="singlecoil"):
    """What fastMRI's own reader makes of the file's folder."""
    from fastmri.data.mri_data import SliceDataset  # noqa: PLC0415 - takes seconds

    return list(SliceDataset(path.parent, challenge, transform))


def zero_filled(scan, sampling):
    """The image of what is measured, (slices, *image), on the way that the result takes."""
    geometry = scan_geometry(scan)
    kspace = geometry.reduce(np.where(sampling.apply(scan).mask, scan.read(slice(None)), 0))
    return geometry.crop(ifft2c(torch.from_numpy(kspace)).abs().numpy())


@sizes
@partitions
def test_sizes_padding_and_targets_are_those_of_fastmri(native, size, acceleration):
    path = native(size, slices=2, acceleration=acceleration)
    scan = open_scan(path)
    assert scan.warnings == ()
    samples = fastmri_samples(path)
    assert scan.slices == len(samples)
    for number, (kspace, mask, target, attributes, name, index) in enumerate(samples):
        assert (name, index) == (path.name, number)
        left, right = attributes["padding_left"], attributes["padding_right"]
        assert scan.acquired == (left, right)
        assert scan.header.encoded == attributes["encoding_size"][:2] == (scan.height, scan.width)
        assert scan.header.recon == attributes["recon_size"][:2]
        np.testing.assert_array_equal(scan.read(number)[0], kspace)
        expected = np.ones(scan.width) if mask is None else mask.copy()
        expected[:left] = expected[right:] = 0  # as `apply_mask` does with this padding
        np.testing.assert_array_equal(scan.mask, np.broadcast_to(expected > 0, kspace.shape))
        assert (target is None) == (scan.reference is None) == (acceleration is not None)
        if target is not None:
            np.testing.assert_array_equal(scan.read_reference(number)[0], target)
            assert scan.attributes["max"] == attributes["max"]
        else:
            assert mask[:left].all()  # it says that padding is measured
            assert mask[right:].all()


@sizes
@partitions
def test_zero_filled_images_are_those_of_fastmri(native, size, acceleration):
    from fastmri.data import subsample, transforms  # noqa: PLC0415 - takes seconds

    path = native(size, slices=2, acceleration=acceleration)
    scan = open_scan(path)
    drawn = subsample.RandomMaskFunc([0.08], [4]) if acceleration is None else None
    ours = zero_filled(scan, OWN_SAMPLING if drawn is None else Sampling(acceleration=4))
    samples = fastmri_samples(path, transforms.UnetDataTransform("singlecoil", drawn))
    for number, sample in enumerate(samples):

        def normalised(values, sample=sample):
            scaled = transforms.normalize(torch.from_numpy(values), sample.mean, sample.std, eps=1e-11)
            return scaled.clamp(-6, 6)

        torch.testing.assert_close(normalised(ours[number]), sample.image, rtol=0, atol=1e-4)
        if drawn is not None:
            target = scan.read_reference(number)[0]
            torch.testing.assert_close(normalised(target), sample.target, rtol=0, atol=1e-5)
            assert sample.max_value == scan.attributes["max"]


@sizes
@pytest.mark.parametrize(("acceleration", "fraction"), [(4, 0.08), (8, 0.04)])
def test_drawn_masks_are_those_of_fastmri_with_padding(native, size, acceleration, fraction):
    from fastmri.data import subsample, transforms  # noqa: PLC0415 - takes seconds

    path = native(size)
    scan = open_scan(path)
    sampled = Sampling(acceleration=acceleration).apply(scan)
    kspace, *_ = fastmri_samples(path)[0]
    masked, mask, low = transforms.apply_mask(
        transforms.to_tensor(kspace),
        subsample.RandomMaskFunc([fraction], [acceleration]),
        seed=tuple(map(ord, path.name)),
        padding=scan.acquired,
    )
    assert low == round(scan.width * fraction)
    np.testing.assert_array_equal(sampled.mask[0], mask.numpy().ravel() > 0)
    np.testing.assert_array_equal(
        np.where(sampled.mask, scan.read(0)[0], 0), torch.view_as_complex(masked).numpy()
    )
    first, end = scan.acquired
    assert sampled.true_acceleration == pytest.approx((end - first) / mask.sum())


@sizes
def test_everything_measured_gives_the_reference(native, size, checkpoint, tmp_path, no_figures):
    path = native(size, noise=0)
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    target = tmp_path / "result.h5"
    report = run_file(loaded, path, target, Request(), AMORTIZED)
    reference = open_scan(path).read_reference(slice(None))
    found, _ = result(target)
    assert found["reconstruction"].shape == reference.shape
    assert np.abs(found["reconstruction"] - reference).max() < 1e-5 * reference.max()
    assert report["scores"]["reconstruction"]["nmse"] < 1e-10


@sizes
@partitions
def test_inspect_foretells_the_result(native, size, tool, tmp_path, acceleration, no_figures):
    path = native(size, noise=0.002, acceleration=acceleration)
    inspected = tool("inspect", path, "--json")
    assert inspected.exit_code == 0, inspected.output
    (found,) = json.loads(inspected.stdout)["files"]
    scan = open_scan(path)
    assert (found["height"], found["width"]) == (scan.height, scan.width)
    assert found["readout_oversampling"] == 2
    assert found["acquired_columns"] == list(scan.acquired)
    cut = {"warning"} if size == "640x264" else set()  # fastMRI's square lacks a part of the field of view
    assert {finding["level"] for finding in found["findings"]} == {"note"} | cut
    assert "generated" not in inspected.stdout  # the patient's identifier
    done = tool("reconstruct", path, "--json")
    (report,) = json.loads(done.stdout)["files"]
    images = result(tmp_path / "out" / path.name)[0]["reconstruction"]
    assert found["reconstruct"]["image"] == list(images.shape[1:])
    assert found["mask"]["true_acceleration"] == pytest.approx(report["true_acceleration"])
    for name, fraction in found["reconstruct"]["fractions"].items():
        assert fraction == pytest.approx(report[f"fraction_{name}"], abs=1e-6)


@sizes
@pytest.mark.parametrize(("asked", "up_to"), [(Sampling(acceleration=4), None), (OWN_SAMPLING, 16)])
def test_measured_bins_are_kept_and_padding_stays_zero(native, size, checkpoint, asked, up_to):
    model, _ = load_model(checkpoint)
    scan = open_scan(native(size))
    sampled = asked.apply(scan)
    geometry = scan_geometry(scan, sampled.mask)
    assert geometry.field[0] == scan.header.recon[0]
    measured = sampled.within(geometry, up_to).mask
    kspace = geometry.reduce(scan.read(slice(None)))
    found = reconstruct_volume(model, kspace, measured, AMORTIZED, acquired=scan.acquired)
    np.testing.assert_array_equal(found.kspace[:, measured], kspace[:, measured])
    rows, columns = (slice(n // 2 - 16, n // 2 + 16) for n in geometry.field)
    central = np.zeros(geometry.field, bool)
    central[rows, columns] = True
    assert found.kspace[:, central].all()
    assert not found.kspace[:, ~central & ~measured].any()
    assert not found.kspace[..., : scan.acquired[0]].any()
    assert not found.kspace[..., scan.acquired[1] :].any()
    assert sum(found.fractions.values()) == pytest.approx(1)
    assert found.fractions["completed"] == pytest.approx((central & ~measured).mean())


def test_a_reference_wider_than_kspace_is_cropped_to_its_width(native, tool, tmp_path, no_figures):
    """fastMRI's transforms crop both to a square of the width of k-space."""
    from fastmri.data.transforms import UnetDataTransform  # noqa: PLC0415 - takes seconds

    def widen(file):
        file["wide"] = np.pad(file["reconstruction_esc"][()], ((0, 0), (28, 28), (28, 28)))
        del file["reconstruction_esc"]
        file.move("wide", "reconstruction_esc")

    path = native("640x264", noise=0, change=widen)
    (sample,) = fastmri_samples(path, UnetDataTransform("singlecoil"))
    done = tool("reconstruct", path, "--json")
    (report,) = json.loads(done.stdout)["files"]
    images = result(tmp_path / "out" / path.name)[0]["reconstruction"]
    assert images.shape[1:] == sample.image.shape == sample.target.shape == (264, 264)
    assert report["scores"]["reconstruction"]["nmse"] < 1e-10
    scored = tool("evaluate", tmp_path / "out" / path.name, path, "-o", tmp_path / "scores.json")
    assert scored.exit_code == 0, scored.output
    assert json.loads((tmp_path / "scores.json").read_text())["overall"]["mean"]["nmse"] < 1e-10


def test_without_a_header_padding_and_image_come_from_the_content(native):
    for acceleration in (None, 4, 8):
        whole = open_scan(native("640x368", acceleration=acceleration))

        def strip(file):
            del file["ismrmrd_header"]

        scan = open_scan(native("640x368", acceleration=acceleration, change=strip))
        assert scan.header is None
        assert scan.warnings == ()
        assert scan.acquired == whole.acquired
        np.testing.assert_array_equal(scan.mask, whole.mask)
        if acceleration is None:  # the reference has the size
            assert scan_geometry(scan) == scan_geometry(whole)
        else:
            assert scan_geometry(scan).image == (640, 368)


@pytest.mark.parametrize("size", [(20, 17), (8, 40), (7, 7)])
def test_kspace_smaller_than_the_grid(tool, tmp_path, rng, size, no_figures):
    parts = rng.normal(size=(2, 2, *size))
    kspace = (1e-5 * (parts[0] + 1j * parts[1])).astype(np.complex64)
    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
    done = tool("reconstruct", path, "--up-to", "4x4")
    assert done.exit_code == 0, done.output
    found, attributes = result(tmp_path / "out" / path.name)
    assert found["reconstruction"].shape == (2, *size)
    completed = fft2c(torch.from_numpy(found["image"])).numpy()
    rows, columns = (slice(n // 2 - 2, n // 2 + 2) for n in size)
    peak = np.abs(kspace).max()
    np.testing.assert_allclose(completed[:, rows, columns], kspace[:, rows, columns], atol=1e-5 * peak)
    assert attributes["fraction_completed"] == pytest.approx(1 - 16 / (size[0] * size[1]))
    assert attributes["fraction_zero"] == 0


def test_several_coils_are_read_as_fastmri_does(native):
    path = native("640x264", coils=3, noise=0)
    scan = open_scan(path)
    assert scan.coils == 3
    samples = fastmri_samples(path, challenge="multicoil")
    geometry = scan_geometry(scan)
    for number, (kspace, mask, target, *_) in enumerate(samples):
        assert mask is None
        np.testing.assert_array_equal(scan.read_coils(number)[0], kspace)
        np.testing.assert_array_equal(scan.read_reference(number)[0], target)
        images = geometry.crop(ifft2c(torch.from_numpy(geometry.reduce(kspace))).numpy())
        rss = np.sqrt((np.abs(images) ** 2).sum(axis=0))
        assert np.abs(rss - target).max() < 1e-5 * target.max()


def test_padding_is_neither_measured_nor_missing(native, tool, no_figures):
    for acceleration in (None, 4):
        path = native("640x368", acceleration=acceleration)
        columns = open_scan(path).mask[0].sum()
        (report,) = json.loads(tool("reconstruct", path, "--json").stdout)["files"]
        assert report["true_acceleration"] == pytest.approx(328 / columns)
        assert report["fraction_measured"] == pytest.approx(columns / 368)
        if acceleration is None:
            assert columns == 328
            assert (report["fraction_completed"], report["fraction_zero"]) == (0, pytest.approx(40 / 368))


@pytest.mark.parametrize("size", ["640x368", "640x264"])
def test_voxels_keep_their_size_and_place(native, tool, tmp_path, size, no_figures):
    path = native(size, noise=0)
    done = tool("reconstruct", path, "--nifti")
    assert done.exit_code == 0, done.output
    assert "orientation and slice gap unknown" in done.stderr
    image = nibabel.load(tmp_path / "out" / "scan.nii.gz")
    reference = open_scan(path).read_reference(slice(None))
    np.testing.assert_allclose(image.header.get_zooms(), (0.6875, 0.6875, 5), rtol=1e-6)
    voxels = np.asarray(image.dataobj)
    assert np.abs(voxels.transpose(2, 1, 0) - reference).max() < 1e-5 * reference.max()
