"""`mri-iahvae reconstruct`, as a user runs it."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import mri_iahvae
from mri_iahvae.cli import main
from mri_iahvae.evaluation.metrics import score
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.scans.reader import open_scan

SETTINGS = (*InferenceSettings.__dataclass_fields__, "up_to")
FAST = ("--up-to", "8x8", "--quality", "fast")


def test_result_figure_and_report(reconstruct, make_scan, tmp_path, outputs, read):
    result = reconstruct(make_scan(slices=3, reference=True), "--up-to", "8")
    assert result.exit_code == 0, result.output
    assert outputs() == ["scan.h5", "scan_kspace.png", "scan_report.json"]
    assert (tmp_path / "out" / "scan_kspace.png").read_bytes().startswith(b"\x89PNG")
    data, _ = read()
    assert data["reconstruction"].shape == data["image"].shape == (3, 32, 32)
    assert (data["reconstruction"].dtype, data["image"].dtype) == (np.float32, np.complex64)
    np.testing.assert_allclose(data["reconstruction"], np.abs(data["image"]), rtol=1e-6)
    assert 1e-6 < data["reconstruction"].max() < 1e-4  # in the units of the input, not the model's

    assert result.stderr == "scan.h5: 3 slices\n"
    lines = result.stdout.splitlines()
    assert lines[0].endswith("scan.h5: 3 slices, k-space 6.2% measured, 93.8% completed, 0.0% zero")
    assert "true acceleration 16.00x" in lines[1]
    assert all(word in line for line in lines[3:5] for word in ("NMSE", "PSNR", "dB", "SSIM"))
    assert lines[5].strip() == "scored against its reference"
    assert {Path(line.strip()).name for line in lines[6:]} == set(outputs())


@pytest.mark.parametrize("command", ["reconstruct", "denoise"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--samples", 2, "--temperature", 0.5, "--seed", 5),
        ("--method", "paper"),
        ("--quality", "fast"),
        ("--steps", "auto", "--precision", "bfloat16"),
        ("--method", "iterative", "--steps", 3),
    ],
)
def test_the_attributes_reproduce_the_run(cli, make_scan, checkpoint, read, command, options):
    path = make_scan(mask=np.arange(32) % 3 > 0)
    noise = ("--sigma", 1e-7) if command == "denoise" else ("--up-to", "8x8")
    assert cli(command, path, *noise, *options).exit_code == 0
    data, stored = read()
    assert stored["version"] == mri_iahvae.__version__
    assert stored["model_sha256"] == json.loads((checkpoint / "config.json").read_text())["sha256"]
    settings = {name: stored[name] for name in SETTINGS if name in stored}
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in settings.items()}
    scan = open_scan(path)
    level = {"noise_sigma": 1e-7} if command == "denoise" else {}
    again = getattr(mri_iahvae, command)(
        scan.read(slice(None)), mask=scan.mask, checkpoint=checkpoint, device="cpu", **level, **plain
    )
    np.testing.assert_array_equal(data["image"], again.image)


def test_json_has_the_numbers_of_the_text(reconstruct, make_scan, read):
    """And the result has them, with the options as the run understood them."""
    path, options = make_scan("my scan.h5", reference=True), (*FAST, "--slices", "1,0", "--gif", "--batch", 2)
    text = reconstruct(path, *options).stdout
    report = json.loads(reconstruct(path, *options, "--json").stdout)
    assert report["failed"] == []
    (file,) = report["files"]
    assert (file["input"], file["up_to"]) == (str(path), "8x8")
    fractions = {name: file[f"fraction_{name}"] for name in ("measured", "completed", "zero")}
    assert sum(fractions.values()) == pytest.approx(1)
    assert all(f"{value:.1%} {name}" in text for name, value in fractions.items())
    _, stored = read("my scan.h5")
    assert json.loads(stored["options"]) == file["options"]
    given = {"up_to": "8x8", "method": "guide", "image_size": "32x32", "slices": [1, 0], "gif": True}
    assert given.items() <= file["options"].items()
    for name, scores in file["scores"].items():
        for key, value in scores.items():
            assert f"{key.upper()} {value:{'#.3g' if key == 'nmse' else '.4f'}}" in text
            assert stored[f"{name} {key}"] == value


@pytest.mark.parametrize("consistency", ["hard", "soft"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--acceleration", 4], "random columns 4x, centre 0.08, seed the file's name"),
        (
            ["--acceleration", 2, "--mask-type", "magic"],
            "magic columns 2x, centre 0.16, seed the file's name",
        ),
        (["--mask", "columns.npy"], "columns.npy"),
        (["--mask", "bins.npz", "--up-to", "16x16"], "bins.npz, up to 16x16"),
    ],
)
def test_asked_masks(
    reconstruct, make_scan, tmp_path, rng, monkeypatch, checkpoint, read, options, line, consistency
):
    """Only the mask's bins count: in the result, the stored mask, fractions and baseline."""
    monkeypatch.chdir(tmp_path)
    np.save("columns.npy", np.arange(32) % 3 > 0)
    np.savez("bins.npz", mask=rng.random((32, 32)) < 0.3)
    path = make_scan(reference=True, noise_sigma=1e-7)
    result = reconstruct(path, *options, "--data-consistency", consistency)
    assert result.exit_code == 0, result.output
    data, stored = read()
    mask = data["mask"]
    assert mask.shape == ((32,) if "--mask" not in options or options[1] == "columns.npy" else (32, 32))
    mask = np.broadcast_to(mask, (32, 32))
    assert stored["true_acceleration"] == pytest.approx(1024 / mask.sum())
    assert stored["mask_description"] == line
    assert f"\n  mask: {line}: true acceleration {1024 / mask.sum():.2f}x\n" in result.stdout
    assert f"k-space {mask.mean():.1%} measured" in result.stdout
    assert stored["fraction_measured"] == pytest.approx(mask.mean())

    scan = open_scan(path)
    kspace = scan.read(slice(None))
    plain = {"data_consistency": consistency, "noise_sigma": 1e-7 if consistency == "soft" else 0.0}
    again = mri_iahvae.reconstruct(kspace, mask, steps=2, device="cpu", checkpoint=checkpoint, **plain)
    np.testing.assert_array_equal(data["image"], again.image)
    baseline = np.abs(ifft2c(torch.from_numpy(np.where(mask, kspace, 0))).numpy())
    expected = score(scan.read_reference(slice(None)), baseline).nmse
    assert stored["zero-filled nmse"] == pytest.approx(expected, rel=1e-6)


def test_the_mask_of_a_result_can_be_used_again(reconstruct, make_scan, tmp_path, read):
    path = make_scan()
    assert reconstruct(path, "--acceleration", 4, "--mask-type", "equispaced").exit_code == 0
    first, _ = read()
    (tmp_path / "out" / "scan.h5").rename(tmp_path / "mask.h5")
    assert reconstruct(path, "--mask", tmp_path / "mask.h5").exit_code == 0
    again, _ = read()
    for name in ("mask", "image"):
        np.testing.assert_array_equal(again[name], first[name])


def test_samples(reconstruct, make_scan, read, checkpoint):
    path = make_scan()
    result = reconstruct(path, "--up-to", "8x8", "--samples", 4, "--keep-samples")
    assert result.exit_code == 0, result.output
    data, stored = read()
    assert data["samples"].shape == (2, 4, 32, 32)
    deviation = data["reconstruction_std"]
    np.testing.assert_allclose(data["image"], data["samples"].mean(axis=1), rtol=1e-3, atol=1e-10)
    assert (deviation > 0).all()
    kspace = open_scan(path).read(slice(None))
    again = mri_iahvae.reconstruct(kspace, up_to=8, samples=2, steps=2, device="cpu", checkpoint=checkpoint)
    np.testing.assert_allclose(deviation, again.std, rtol=1e-5)  # in closed form: two samples have it, too
    assert (stored["samples"], stored["temperature"]) == (4, 1)
    assert stored["steps_used"].tolist() == [2, 2, 2, 2, 0, 0]
    assert "steps at scales 1, 2, 4 ...: 2 2 2 2 0 0; 4 posterior samples at temperature 1\n" in result.stdout


def test_results_replace_those_of_an_earlier_run_as_a_whole(reconstruct, make_scan, tmp_path, outputs):
    path, nifti = make_scan(), tmp_path / "out" / "scan.nii.gz"
    for more, beside in (
        (("--nifti", "--gif", "--dicom"), {"scan.json", "scan.nii.gz", "scan_dicom", "scan_scales.gif"}),
        (("--gif",), {"scan_scales.gif"}),
        (("--nifti",), {"scan.json", "scan.nii.gz"}),
        ((), set()),
    ):
        assert reconstruct(path, *FAST, *more).exit_code == 0
        assert set(outputs()) == {"scan.h5", "scan_kspace.png", "scan_report.json", *beside}
    nifti.write_bytes(b"another program's")
    assert reconstruct(path, *FAST).exit_code == 0
    assert nifti.read_bytes() == b"another program's"
    assert reconstruct(path, *FAST, "--nifti").exit_code == 0
    before = nifti.read_bytes()
    path.write_bytes(b"no scan")
    assert reconstruct(path, *FAST).exit_code == 1  # a run that fails leaves all as it was
    assert nifti.read_bytes() == before


def test_unfinished_weights_are_a_warning(reconstruct, make_scan, checkpoint, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    config = json.loads((checkpoint / "config.json").read_text())
    config["training"] = {"steps_done": 220, "steps_planned": 2000}
    (model / "config.json").write_text(json.dumps(config))
    path, text = make_scan(), "the training of the weights is unfinished: step 220 of 2000"
    result = reconstruct(path, *FAST, "-q", "--checkpoint", model)
    assert (result.exit_code, result.stderr) == (0, f"Warning: {path}: {text}\n")
    kspace = open_scan(path).read(slice(None))
    with pytest.warns(mri_iahvae.IahvaeWarning, match=text):
        found = mri_iahvae.reconstruct(kspace, up_to=8, checkpoint=model, quality="fast", device="cpu")
    assert found.warnings == (text,)


def test_inputs_and_folders_that_cannot_be(reconstruct, make_scan, tmp_path, expect_error):
    """No input, two results of one name, the input itself as output, and folders that cannot be made."""
    expect_error(reconstruct(), 2, "INPUT")
    path = make_scan()
    none = tmp_path / "none"
    expect_error(reconstruct(path, none), 2, f"'{none}' does not exist")
    expect_error(reconstruct(path, "--mask", none), 2, f"'{none}' does not exist")
    none.write_text("1 1 0")
    expect_error(reconstruct(path, "--mask", none), 1, str(none), "expected a mask")
    none.unlink()
    before = path.read_bytes()
    (tmp_path / "other").mkdir()
    for twin in (tmp_path / "other" / "scan.h5", tmp_path / "scan.hdf5"):
        shutil.copy(path, twin)
        expect_error(reconstruct(path, twin), 2, str(twin), "overwrite")
    expect_error(reconstruct(path, "-o", tmp_path), 2, "overwrite")
    assert path.read_bytes() == before
    for folder in (path, path / "deeper"):
        expect_error(reconstruct(path, "-o", folder), 1, str(folder), "another folder")


@pytest.mark.usefixtures("within_bounds")
def test_a_slice_whose_completion_is_out_of_bounds_is_named(tmp_path, head_kspace, read):
    """A point among heads: the run succeeds, and warning, attribute and report say which slice it was."""
    point = np.zeros((128, 128))
    point[40, 70] = 1
    kspace = np.stack([head_kspace(1, 128)[0], fft2c(torch.from_numpy(point).cfloat()).numpy()])
    mask = np.arange(128) % 3 == 0
    mask[59:69] = True
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = np.where(mask, kspace, 0).astype(np.complex64)
        file.attrs["noise_sigma"] = 0.0  # else the point passes for noise
    common = ("-o", tmp_path / "out", "-q", "--method", "amortized", "--device", "cpu")
    result = CliRunner().invoke(main, ["reconstruct", *map(str, (tmp_path / "scan.h5", *common))])
    assert result.exit_code == 0, result.output
    assert "what the model predicted for slice 1 was out of bounds" in result.stderr
    data, stored = read()
    assert stored["bounded"].tolist() == [False, True]
    assert json.loads((tmp_path / "out" / "scan_report.json").read_text())["bounded"] == [1]
    assert data["reconstruction"][1].max() < 2
