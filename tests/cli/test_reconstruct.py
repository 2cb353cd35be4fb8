"""`mri-iahvae reconstruct`, as a user runs it."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
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
from mri_iahvae.pipeline import output
from mri_iahvae.scans.reader import open_scan

SETTINGS = (*InferenceSettings.__dataclass_fields__, "up_to")


@pytest.fixture
def arguments(checkpoint, tmp_path):
    """Builds a command line; later options override the defaults here."""

    def build(*args, command="reconstruct"):
        common = ["--checkpoint", checkpoint, "--device", "cpu", "-o", tmp_path / "out"]
        common += ["--steps", 2] if "amortized" not in args else []  # which has none
        return [command, *map(str, common), *map(str, args)]

    return build


@pytest.fixture
def reconstruct(arguments):
    return lambda *args: CliRunner().invoke(main, arguments(*args))


def start(*args, **options):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mri_iahvae", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def read(path):
    with h5py.File(path) as file:
        return {name: values[()] for name, values in file.items()}, dict(file.attrs)


def outputs(tmp_path):
    return sorted(path.name for path in tmp_path.glob("out/*"))


def error(image, target):
    return np.linalg.norm(image - target) / np.linalg.norm(target)


def expect_error(result, code, *words):
    """One line on stderr with the words, nothing on stdout, and no traceback."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert result.stderr.count("Error: ") == 1
    for word in words:
        assert word in line


def test_result_figure_and_report(reconstruct, make_scan, tmp_path):
    result = reconstruct(make_scan(slices=3, reference=True), "--up-to", "8x8")
    assert result.exit_code == 0, result.output
    assert outputs(tmp_path) == ["scan.h5", "scan_kspace.png", "scan_report.json"]
    assert (tmp_path / "out" / "scan_kspace.png").read_bytes().startswith(b"\x89PNG")
    data, _ = read(tmp_path / "out" / "scan.h5")
    assert data["reconstruction"].shape == data["image"].shape == (3, 32, 32)
    assert data["reconstruction"].dtype == np.float32
    assert data["image"].dtype == np.complex64
    np.testing.assert_allclose(data["reconstruction"], np.abs(data["image"]), rtol=1e-6)
    assert 1e-6 < data["reconstruction"].max() < 1e-4  # in the units of the input, not the model's

    assert result.stderr == "scan.h5: 3 slices\n"
    lines = result.stdout.splitlines()
    assert lines[0].endswith("scan.h5: 3 slices, k-space 6.2% measured, 93.8% completed, 0.0% zero")
    assert lines[1] == "  mask: full sampling, up to 8x8: true acceleration 16.00x"
    assert lines[2] == "  method hybrid; mean steps at scales 1, 2, 4 ...: 2 2 2 2 0 0"
    assert lines[3].split()[0] == "zero-filled"
    assert lines[4].split()[0] == "reconstruction"
    assert all(word in line for line in lines[3:5] for word in ("NMSE", "PSNR", "dB", "SSIM"))
    assert [line.strip() for line in lines[5:]] == [
        str(tmp_path / "out" / name) for name in ("scan.h5", "scan_report.json", "scan_kspace.png")
    ]


def test_without_a_reference_no_scores(reconstruct, make_scan, tmp_path):
    result = reconstruct(make_scan())
    assert result.exit_code == 0
    assert "NMSE" not in result.output
    assert json.loads(reconstruct(make_scan(), "--json").stdout)["files"][0]["scores"] == {}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--up-to", "8x8", "--samples", 2, "--temperature", 0.5, "--seed", 5),
        ("--method", "paper"),
        ("--method", "amortized", "--imputation-rounds", 1),
        ("--joint-steps", 0),
        ("--joint-steps", 3),
        ("--steps", "auto", "--precision", "bfloat16"),
        ("--method", "iterative", "--optimizer", "adam", "--schedule", "sequential"),
    ],
)
def test_the_attributes_reproduce_the_run(reconstruct, make_scan, checkpoint, tmp_path, options):
    path = make_scan(mask=np.arange(32) % 3 > 0)
    assert reconstruct(path, *options).exit_code == 0
    data, stored = read(tmp_path / "out" / "scan.h5")
    assert stored["version"] == mri_iahvae.__version__
    config = json.loads((checkpoint / "config.json").read_text())
    assert stored["model_sha256"] == config["sha256"]
    settings = {name: stored[name] for name in SETTINGS if name in stored}
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in settings.items()}
    scan = open_scan(path)
    again = mri_iahvae.reconstruct(
        scan.read(slice(None)), scan.mask, checkpoint=checkpoint, device="cpu", **plain
    )
    np.testing.assert_array_equal(data["image"], again.image)


def test_json_has_the_numbers_of_the_text(reconstruct, make_scan, tmp_path):
    path = make_scan(reference=True)
    text = reconstruct(path, "--up-to", "8x8").stdout
    result = reconstruct(path, "--up-to", "8x8", "--json")
    report = json.loads(result.stdout)
    assert report["failed"] == []
    (file,) = report["files"]
    assert file["input"] == str(path)
    assert file["up_to"] == "8x8"
    assert sum(file[f"share_{name}"] for name in ("measured", "completed", "zero")) == pytest.approx(1)
    for name in ("measured", "completed", "zero"):
        assert f"{file[f'share_{name}']:.1%} {name}" in text
    _, stored = read(file["output"])
    for name, scores in file["scores"].items():
        for key, value in scores.items():
            assert f"{key.upper()} {value:{'#.3g' if key == 'nmse' else '.4f'}}" in text
            assert stored[f"{name} {key}"] == value


@pytest.fixture
def masks(tmp_path):
    """Mask files by name: columns, bins, and what is none."""
    bins = np.random.default_rng(2).random((32, 32)) < 0.3
    bins[12:20, 12:20] = True
    np.save(tmp_path / "columns.npy", np.arange(32) % 3 > 0)
    np.savez(tmp_path / "bins.npz", mask=bins)
    np.save(tmp_path / "short.npy", np.ones(31))
    np.save(tmp_path / "nan.npy", np.full(32, np.nan))
    np.save(tmp_path / "half.npy", np.full((32, 32), 0.5))
    (tmp_path / "text.npy").write_text("1 1 0")
    return tmp_path


@pytest.mark.parametrize("consistency", ["hard", "soft"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--acceleration", 4], "random columns 4x, centre 0.08"),
        (
            ["--acceleration", 2, "--center-fraction", 0.25, "--mask-type", "magic"],
            "magic columns 2x, centre 0.25",
        ),
        (["--mask", "columns.npy"], "columns.npy"),
        (["--mask", "bins.npz", "--up-to", "16x16"], "bins.npz, up to 16x16"),
    ],
)
def test_asked_masks(reconstruct, make_scan, masks, monkeypatch, checkpoint, options, line, consistency):
    """Only the mask's bins count: in the result, the stored mask, shares, baseline and figure."""
    monkeypatch.chdir(masks)
    drawn = []
    monkeypatch.setattr(output, "kspace_figure", lambda _path, views, **_: drawn.extend(views))
    path = make_scan(reference=True, noise_sigma=1e-7)
    result = reconstruct(path, *options, "--data-consistency", consistency)
    assert result.exit_code == 0, result.output
    data, stored = read(masks / "out" / "scan.h5")
    mask = data["mask"]
    assert mask.dtype == bool
    assert mask.shape == ((32,) if "--mask" not in options or options[1] == "columns.npy" else (32, 32))
    mask = np.broadcast_to(mask, (32, 32))
    assert stored["true_acceleration"] == pytest.approx(1024 / mask.sum())
    assert f"\n  mask: {line}: true acceleration {1024 / mask.sum():.2f}x\n" in result.stdout
    assert f"k-space {mask.mean():.1%} measured" in result.stdout
    assert stored["share_measured"] == pytest.approx(mask.mean())

    scan = open_scan(path)
    kspace = scan.read(slice(None))
    plain = {"data_consistency": consistency, "noise_sigma": 1e-7 if consistency == "soft" else 0.0}
    again = mri_iahvae.reconstruct(kspace, mask, steps=2, device="cpu", checkpoint=checkpoint, **plain)
    np.testing.assert_array_equal(data["image"], again.image)
    baseline = np.abs(ifft2c(torch.from_numpy(np.where(mask, kspace, 0))).numpy())
    expected = score(scan.read_reference(slice(None)), baseline).nmse
    assert stored["zero-filled nmse"] == pytest.approx(expected, rel=1e-6)
    (view,) = drawn
    np.testing.assert_array_equal(view.measured, np.where(mask, kspace[1], 0))
    np.testing.assert_array_equal(view.reference_kspace, kspace[1])
    np.testing.assert_allclose(view.zero_filled, baseline[1], rtol=1e-5)


@pytest.mark.usefixtures("unbounded")
def test_masks_combine_with_that_of_the_file(reconstruct, make_scan, masks):
    own = np.arange(32) < 24
    path = make_scan(mask=own)
    result = reconstruct(path, "--mask", masks / "bins.npz", "--json", "-q")
    assert result.exit_code == 0
    (report,) = json.loads(result.stdout)["files"]
    data, stored = read(report["output"])
    with np.load(masks / "bins.npz") as archive:
        asked = archive["mask"]
    np.testing.assert_array_equal(data["mask"], asked & own)
    assert report["mask_source"] == stored["mask_source"] == "mask file"
    assert report["mask"] == stored["mask"] == "bins.npz, within the file's own"
    assert report["true_acceleration"] == pytest.approx(1024 / (asked & own).sum())
    share = (asked & ~own).sum() / asked.sum()
    assert result.stderr == (
        f"Warning: {path}: {(asked & ~own).sum()} bins of the mask ({share:.1%}) are not in the file: "
        "taken as unmeasured\n"
    )


def test_a_mask_inferred_from_zeros_is_said(reconstruct, make_scan, masks):
    path = make_scan()
    with np.load(masks / "bins.npz") as archive, h5py.File(path, "r+") as file:
        mask = archive["mask"]
        file["kspace"][:] = np.where(mask, file["kspace"], 0)
    result = reconstruct(path)
    assert (
        f"\n  mask: inferred from exact zeros: true acceleration {1024 / mask.sum():.2f}x\n" in result.stdout
    )
    data, stored = read(masks / "out" / "scan.h5")
    assert stored["mask_source"] == "zeros"
    np.testing.assert_array_equal(data["mask"], mask)


def test_the_mask_of_a_result_can_be_used_again(reconstruct, make_scan, tmp_path):
    path = make_scan()
    assert reconstruct(path, "--acceleration", 4, "--mask-type", "equispaced").exit_code == 0
    first, _ = read(tmp_path / "out" / "scan.h5")
    (tmp_path / "out" / "scan.h5").rename(tmp_path / "mask.h5")
    assert reconstruct(path, "--mask", tmp_path / "mask.h5").exit_code == 0
    again, _ = read(tmp_path / "out" / "scan.h5")
    for name in ("mask", "image"):
        np.testing.assert_array_equal(again[name], first[name])


def test_a_mask_that_leaves_nothing_is_a_warning(reconstruct, make_scan, tmp_path):
    np.save(tmp_path / "left.npy", np.arange(32) < 16)
    path = make_scan(mask=np.arange(32) >= 16, reference=True)
    result = reconstruct(path, "--mask", tmp_path / "left.npy", "-q")
    assert result.exit_code == 0
    assert f"Warning: {path}: no measured k-space bin is left\n" in result.stderr
    assert "\n  mask: left.npy, within the file's own: nothing measured\n" in result.stdout
    text = reconstruct(path, "--mask", tmp_path / "left.npy", "--json").stdout
    report = json.loads(text, parse_constant=pytest.fail)
    assert report["files"][0]["true_acceleration"] is None
    assert "true_acceleration" not in read(tmp_path / "out" / "scan.h5")[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.npy", ["no such file"]),
        ("short.npy", ["shape (31,)", "(32,) or (32, 32)"]),
        ("nan.npy", ["the value nan"]),
        ("half.npy", ["the value 0.5"]),
        ("text.npy", ["npy, npz"]),
        ("scan.h5", ["dataset 'mask'", "found none"]),
        ("scan.png", ["'.png'"]),
    ],
)
def test_mask_files_that_cannot_be_used(reconstruct, make_scan, masks, name, words):
    expect_error(reconstruct(make_scan(), "--mask", masks / name), 1, str(masks / name), "expected", *words)
    assert outputs(masks) == []


def test_quiet_leaves_stderr_to_warnings(reconstruct, make_scan):
    assert reconstruct(make_scan(), "-q", "--up-to", "8x8").stderr == ""


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(reconstruct, make_scan, tmp_path, scale):
    assert reconstruct(make_scan(scale=1.0), "--up-to", "8x8").exit_code == 0
    plain, _ = read(tmp_path / "out" / "scan.h5")
    assert reconstruct(make_scan(scale=scale), "--up-to", "8x8").exit_code == 0
    scaled, _ = read(tmp_path / "out" / "scan.h5")
    assert error(scaled["image"] / scale, plain["image"]) < 1e-3


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid", "paper"])
def test_every_method_runs(reconstruct, make_scan, tmp_path, method):
    assert reconstruct(make_scan(), "--up-to", "8x8", "--method", method).exit_code == 0
    data, stored = read(tmp_path / "out" / "scan.h5")
    assert stored["method"] == method
    assert np.isfinite(data["image"]).all()


def test_a_scan_larger_than_the_grid(reconstruct, make_scan, tmp_path):
    path = make_scan(size=64)
    assert "100.0% measured, 0.0% completed, 0.0% zero" in reconstruct(path).stdout
    data, _ = read(tmp_path / "out" / "scan.h5")
    assert data["reconstruction"].shape == (2, 64, 64)
    assert "1.6% measured, 23.4% completed, 75.0% zero" in reconstruct(path, "--up-to", "8x8").stdout


def read_after(reconstruct, path, tmp_path, *options):
    result = reconstruct(path, *options)
    assert result.exit_code == 0, result.output
    return (*read(tmp_path / "out" / "scan.h5"), result.stdout)


def test_samples(reconstruct, make_scan, tmp_path):
    options = ("--up-to", "8x8", "--samples", 4, "--keep-samples")
    data, stored, text = read_after(reconstruct, make_scan(), tmp_path, *options)
    assert data["samples"].shape == (2, 4, 32, 32)
    assert data["samples"].dtype == np.complex64
    assert data["reconstruction_std"].shape == (2, 32, 32)
    assert data["reconstruction_std"].dtype == np.float32
    np.testing.assert_allclose(data["image"], data["samples"].mean(axis=1), rtol=1e-3, atol=1e-10)
    expected = np.abs(data["samples"]).std(axis=1)
    np.testing.assert_allclose(data["reconstruction_std"], expected, rtol=1e-3, atol=1e-12)
    assert (data["reconstruction_std"] > 0).all()
    assert stored["samples"] == 4
    assert stored["temperature"] == 1
    assert stored["steps_used"].tolist() == [2, 2, 2, 2, 0, 0]
    assert (
        "\n  method hybrid; mean steps at scales 1, 2, 4 ...: 2 2 2 2 0 0; "
        "4 posterior samples at temperature 1\n" in text
    )
    without, _, _ = read_after(reconstruct, make_scan(), tmp_path, *options[:4])
    assert set(data) - set(without) == {"samples"}
    report = json.loads(reconstruct(make_scan(), *options, "--json").stdout)["files"][0]
    assert report["steps_used"] == [2, 2, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 posterior sample: they"), (2, ""), (3, "3 posterior samples: they")]
)
def test_a_sample_without_its_mirror_image_is_a_warning(reconstruct, make_scan, tmp_path, count, words):
    path, options = make_scan(), ("--up-to", "8x8", "--method", "amortized", "-q", "--samples", count)
    result = reconstruct(path, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("\n") == bool(words)
    assert words in result.stderr
    assert f"; {count} posterior sample{'s' * (count > 1)} at temperature 1\n" in result.stdout
    data, _ = read(tmp_path / "out" / "scan.h5")
    assert ("reconstruction_std" in data) == (count > 1)
    assert reconstruct(path, *options, "--temperature", 0).stderr == ""  # no noise is drawn


def test_results_replace_those_of_an_earlier_run_as_a_whole(reconstruct, make_scan, tmp_path):
    path, options = make_scan(), ("--up-to", "8x8", "--method", "amortized")
    for more, beside in (
        (("--nifti", "--gif"), {"scan.nii.gz", "scan_scales.gif"}),
        (("--gif",), {"scan_scales.gif"}),
        (("--nifti",), {"scan.nii.gz"}),
        ((), set()),
    ):
        assert reconstruct(path, *options, *more).exit_code == 0
        assert set(outputs(tmp_path)) == {"scan.h5", "scan_kspace.png", "scan_report.json", *beside}
    (tmp_path / "out" / "scan.nii.gz").write_bytes(b"another program's")
    assert reconstruct(path, *options).exit_code == 0
    assert (tmp_path / "out" / "scan.nii.gz").read_bytes() == b"another program's"
    assert reconstruct(path, *options, "--nifti").exit_code == 0
    before = (tmp_path / "out" / "scan.nii.gz").read_bytes()
    path.write_bytes(b"no scan")
    assert reconstruct(path, *options).exit_code == 1  # a run that fails leaves all as it was
    assert (tmp_path / "out" / "scan.nii.gz").read_bytes() == before


def test_the_options_of_a_run_are_stored_as_it_understood_them(reconstruct, make_scan, checkpoint, tmp_path):
    path = make_scan("my scan.h5", reference=True)
    result = reconstruct(path, "--acceleration", 4, "--slices", "1,0", "--gif", "--batch", 2, "--json")
    (report,) = json.loads(result.stdout)["files"]
    _, stored = read(report["output"])
    assert stored["input"] == "my scan.h5"
    assert json.loads(stored["options"]) == report["options"]
    expected = {
        "checkpoint": checkpoint.name, "mask": None, "acceleration": 4, "center_fraction": 0.08,
        "mask_type": "random", "up_to": None, "method": "hybrid", "steps": 2, "data_consistency": "hard",
        "seed": 0, "samples": 0, "keep_samples": False, "coil_combine": None, "image_size": "32x32",
        "slices": [1, 0], "nifti": False, "gif": True, "batch": 2, "device": "cpu", "deterministic": False,
    }  # fmt: skip
    assert expected.items() <= report["options"].items()
    options = CliRunner().invoke(main, ["reconstruct", "--help"]).output
    for name in report["options"]:
        assert f"--{name.replace('_', '-')} " in options, name


def test_every_attribute_is_documented(reconstruct, make_scan, tmp_path):
    options = ("--data-consistency", "soft", "--up-to", "8x8", "--method", "amortized")
    assert reconstruct(make_scan(reference=True), *options).exit_code == 0
    page = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text()
    known = {*re.findall(r"`([\w. -]+)`", page), *InferenceSettings.__dataclass_fields__}
    _, stored = read(tmp_path / "out" / "scan.h5")
    images, measures = ("zero-filled", "reconstruction"), ("nmse", "psnr", "ssim")
    scores = {f"{image} {measure}" for image in images for measure in measures}
    assert scores <= set(stored)
    assert not set(stored) - scores - known


def test_unfinished_weights_are_a_warning(reconstruct, make_scan, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "model")
    config = json.loads((checkpoint / "config.json").read_text())
    config["training"] = {"steps_done": 220, "steps_planned": 2000}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    path = make_scan()
    result = reconstruct(
        path, "--up-to", "8x8", "--method", "amortized", "-q", "--checkpoint", tmp_path / "model"
    )
    assert result.exit_code == 0
    text = "the training of the weights is unfinished: step 220 of 2000"
    assert result.stderr == f"Warning: {path}: {text}\n"
    found = mri_iahvae.reconstruct(
        open_scan(path).read(slice(None)),
        up_to="8x8",
        checkpoint=tmp_path / "model",
        method="amortized",
        device="cpu",
    )
    assert found.warnings == (text,)
    drawn = CliRunner().invoke(
        main,
        ["sample", "--count", "1", "--checkpoint", str(tmp_path / "model"), "-o", str(tmp_path / "drawn")],
    )
    assert f"Warning: {text}\n" in drawn.stderr


def test_equal_seeds_give_equal_bytes(reconstruct, make_scan, tmp_path):
    def arrays(*options):
        return read_after(
            reconstruct, make_scan(), tmp_path, "--up-to", "8x8", "--samples", 2, "--keep-samples", *options
        )[0]

    first = arrays("--seed", 3)
    for name, values in arrays("--seed", 3).items():
        assert values.tobytes() == first[name].tobytes(), name
    for options in (("--seed", 4), ("--seed", 3, "--temperature", 0.5)):
        other = arrays(*options)
        for name in ("samples", "reconstruction_std"):
            assert error(other[name], first[name]) > 1e-3


def test_the_seed_does_not_matter_where_nothing_is_drawn(reconstruct, make_scan, tmp_path):
    images = [
        read_after(reconstruct, make_scan(), tmp_path, "--up-to", "8x8", "--seed", seed)[0]["image"]
        for seed in (0, 1)
    ]
    np.testing.assert_array_equal(*images)


def test_automatic_steps_are_said(reconstruct, make_scan, tmp_path):
    path = make_scan(mask=np.arange(32) % 3 > 0)
    _, stored, text = read_after(reconstruct, path, tmp_path, "--steps", "auto")
    assert stored["steps"] == "auto"
    used = stored["steps_used"]
    assert used.shape == (6,)
    assert ((used > 1) & (used <= 100)).all()
    assert used[0] < 20  # one latent
    numbers = " ".join(f"{steps:.3g}" for steps in used)
    assert f"\n  method hybrid; mean steps at scales 1, 2, 4 ...: {numbers}\n" in text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--method", "amortized"), "method amortized"),
        (("--method", "paper"), "method paper; mean steps at scales 1, 2, 4 ...: 2 2 2 2 2 2"),
        (
            ("--optimizer", "adam", "--steps", 5),
            "method hybrid; mean steps at scales 1, 2, 4 ...: 5 5 5 5 5 5",
        ),
        (
            ("--samples", 3, "--temperature", 0.5, "--method", "amortized"),
            "method amortized; 3 posterior samples at temperature 0.5",
        ),
    ],
)
def test_the_report_says_how_it_was_computed(reconstruct, make_scan, tmp_path, options, line):
    assert f"\n  {line}\n" in read_after(reconstruct, make_scan(), tmp_path, *options)[2]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("--optimizer", ("lbfgs", "adam")),
        ("--imputation-rounds", (1, 4)),
        ("--joint-steps", (0, 4)),
        ("--precision", ("float32", "bfloat16")),
        ("--steps", (1, 6)),
    ],
)
def test_options_change_the_result_and_are_stored(reconstruct, make_scan, tmp_path, name, values):
    path = make_scan(mask=np.arange(32) % 3 < 2)
    results = [read_after(reconstruct, path, tmp_path, name, value) for value in values]
    assert (results[0][0]["image"] != results[1][0]["image"]).any()
    for value, (_, stored, _) in zip(values, results, strict=True):
        assert stored[name[2:].replace("-", "_")] == value


def test_with_one_layer_per_scale_the_schedule_does_not_matter(reconstruct, make_scan, tmp_path):
    path = make_scan(mask=np.arange(32) % 3 > 0)
    images = []
    for schedule in ("joint", "sequential"):
        data, stored, _ = read_after(reconstruct, path, tmp_path, "--schedule", schedule)
        assert stored["schedule"] == schedule
        images.append(data["image"])
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("silent", ["slice", "file"])
def test_silent_slices_are_zeros_with_a_warning(reconstruct, make_scan, tmp_path, silent):
    path = make_scan(reference=True)
    with h5py.File(path, "r+") as file:
        file["kspace"][slice(None) if silent == "file" else 1] = 0
    result = reconstruct(path, "-q")
    assert result.exit_code == 0
    numbers = "slice 1" if silent == "slice" else "slices 0, 1"
    assert f"no signal in the central 32x32 bins of {numbers}: left zero\n" in result.stderr
    data, _ = read(tmp_path / "out" / "scan.h5")
    assert not data["image"][1].any()
    assert data["image"][0].any() == (silent == "slice")


def test_with_nothing_measured_the_prior_is_sampled_with_a_warning(reconstruct, make_scan, tmp_path):
    path = make_scan(mask=np.zeros(32, bool))
    images = []
    for seed in (0, 0, 1):
        result = reconstruct(path, "-q", "--seed", seed)
        assert result.exit_code == 0
        assert (
            f"Warning: {path}: nothing measured in the central 32x32 bins of slices 0, 1: "
            "a sample of the prior, in canonical units\n" in result.stderr
        )
        assert "0.0% measured, 100.0% completed" in result.stdout
        images.append(read(tmp_path / "out" / "scan.h5")[0]["image"])
    np.testing.assert_array_equal(images[0], images[1])
    assert error(images[2], images[0]) > 1e-2
    assert images[0].all()


def damaged(path, case):
    """Spoil a good file."""
    if case == "missing":
        path.unlink()
    elif case == "not HDF5":
        path.write_text("no scan")
    elif case == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        with h5py.File(path, "r+") as file:
            kspace = file["kspace"][()]
            del file["kspace"]
            if case != "no kspace":
                file["kspace"] = SPOILED[case](kspace)
            if case == "mask":
                file["mask"] = np.ones(31)
    return path


SPOILED = {
    "2-D": lambda kspace: kspace[0],
    "5-D": lambda kspace: np.stack([kspace[None], kspace[None]]),
    "float": lambda kspace: kspace.real,
    "text": lambda kspace: np.full(kspace.shape, b"a"),
    "NaN": lambda kspace: np.where(np.arange(32) == 3, np.nan, kspace),
    "mask": lambda kspace: kspace,
}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "no such file"),
        ("not HDF5", "HDF5"),
        ("truncated", "HDF5"),
        ("no kspace", "no such dataset"),
        ("2-D", "(32, 32)"),
        ("5-D", "(2, 1, 2, 32, 32)"),
        ("float", "float32"),
        ("text", "complex"),
        ("NaN", "slice 0"),
        ("mask", "(31,)"),
    ],
)
def test_files_that_cannot_be_used(reconstruct, make_scan, tmp_path, case, words):
    path = damaged(make_scan(), case)
    expect_error(reconstruct(path), 1, str(path), words)
    assert outputs(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--up-to", "7x9"], ["--up-to 7x9", "32x32"]),
        (["--up-to", "64x64"], ["--up-to 64x64", "32x32 grid"]),
        (["--checkpoint", "nowhere"], ["--checkpoint nowhere"]),
        (["--device", "abacus"], ["--device abacus", "cpu"]),
        (["--steps", -1], ["--steps"]),
        (["--batch", 0], ["--batch"]),
        (["--seed", -1], ["--seed"]),
        (["--seed", 2**32], ["--seed"]),
        (["--temperature", -1], ["--temperature"]),
        (["--temperature", "nan"], ["--temperature"]),
        (["--temperature", "inf"], ["--temperature"]),
        (["--method", "guess"], ["--method"]),
        (["--method", "amortized", "--steps", 5], ["--steps does not apply to --method amortized"]),
        (["--method", "amortized", "--optimizer", "adam"], ["--optimizer does not apply"]),
        (["--method", "amortized", "--schedule", "joint"], ["--schedule does not apply"]),
        (["--method", "paper", "--optimizer", "lbfgs"], ["--optimizer does not apply to --method paper"]),
        (["--method", "paper", "--schedule", "joint"], ["--schedule does not apply"]),
        (["--method", "paper", "--samples", 3], ["--samples does not apply"]),
        (["--method", "paper", "--steps", "auto"], ["steps auto"]),
        (["--method", "iterative", "--imputation-rounds", 2], ["--imputation-rounds does not apply"]),
        (
            ["--method", "amortized", "--joint-steps", 2],
            ["--joint-steps does not apply to --method amortized"],
        ),
        (["--method", "paper", "--joint-steps", 2], ["--joint-steps does not apply to --method paper"]),
        (["--samples", 2, "--joint-steps", 2], ["--joint-steps does not apply to --samples"]),
        (["--joint-steps", -1], ["--joint-steps"]),
        (["--temperature", 0.5], ["--temperature needs --samples"]),
        (["--temperature", 0.5, "--samples", 0], ["--temperature needs --samples"]),
        (["--keep-samples"], ["--keep-samples needs --samples"]),
        (["--optimizer", "adam", "--steps", "auto"], ["steps auto", "lbfgs"]),
        (["--optimizer", "newton"], ["--optimizer"]),
        (["--schedule", "late"], ["--schedule"]),
        (["--precision", "float16"], ["--precision"]),
        (["--imputation-rounds", 0], ["--imputation-rounds"]),
        (["--steps", "many"], ["--steps", "'many' is neither a whole number from 0 to 10000 nor auto"]),
        (["--steps", 1.5], ["--steps"]),
        (["--samples", -1], ["--samples"]),
        (["--data-consistency", "firm"], ["--data-consistency"]),
        (["--unknown"], ["--unknown"]),
        (["--center-fraction", 0.08], ["--center-fraction", "give --acceleration too"]),
        (["--mask-type", "random"], ["--mask-type", "give --acceleration too"]),
        (["--mask", "a.npy", "--mask-type", "random"], ["--mask-type", "give --acceleration too"]),
        (["--mask", "a.npy", "--acceleration", 4], ["--mask or --acceleration"]),
        (["--acceleration", 1], ["--acceleration"]),
        (["--acceleration", 2.5], ["--acceleration"]),
        (["--acceleration", 4, "--center-fraction", 0], ["--center-fraction"]),
        (["--acceleration", 4, "--center-fraction", "nan"], ["--center-fraction"]),
        (["--acceleration", 4, "--center-fraction", 0.5], ["leaves none to draw"]),
        (["--acceleration", 4, "--mask-type", "spiral"], ["--mask-type"]),
    ],
)
def test_impossible_options(reconstruct, make_scan, tmp_path, options, words):
    expect_error(reconstruct(make_scan(), *options), 2, *words)
    assert outputs(tmp_path) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_cuda_that_is_not_there(reconstruct, make_scan):
    expect_error(reconstruct(make_scan(), "--device", "cuda"), 2, "--device cuda", "cpu")


def test_no_input(reconstruct):
    expect_error(reconstruct(), 2, "INPUT")


def test_inputs_whose_results_would_collide(reconstruct, make_scan, tmp_path):
    path = make_scan()
    (tmp_path / "other").mkdir()
    for twin in (tmp_path / "other" / "scan.h5", tmp_path / "scan.hdf5"):
        shutil.copy(path, twin)
        expect_error(reconstruct(path, twin), 2, str(twin), "overwrite")
    assert outputs(tmp_path) == []


def test_the_input_is_never_overwritten(reconstruct, make_scan, tmp_path):
    path = make_scan()
    before = path.read_bytes()
    expect_error(reconstruct(path, "-o", tmp_path), 2, "overwrite")
    assert path.read_bytes() == before


def test_output_folders_that_cannot_be_made(reconstruct, make_scan, tmp_path):
    path = make_scan()
    for folder in (path, path / "deeper"):
        expect_error(reconstruct(path, "-o", folder), 1, str(folder), "another folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(reconstruct, make_scan, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    expect_error(reconstruct(make_scan()), 1, "cannot be written")


def test_checkpoints_that_cannot_be_used(reconstruct, make_scan, tmp_path, checkpoint):
    path = make_scan()
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    expect_error(reconstruct(path, "--checkpoint", copy), 1, "model.safetensors", "SHA-256")
    (copy / "model.safetensors").unlink()
    expect_error(reconstruct(path, "--checkpoint", copy), 1, "model.safetensors")
    (copy / "config.json").write_text("{}")
    expect_error(reconstruct(path, "--checkpoint", copy), 1, "config.json")
    assert outputs(tmp_path) == []


def test_one_bad_file_of_three(reconstruct, make_scan, tmp_path):
    good, bad, last = make_scan("a.h5"), damaged(make_scan("b.h5"), "NaN"), make_scan("c.h5")
    result = reconstruct(good, bad, last)
    assert result.exit_code == 3
    assert outputs(tmp_path) == [
        f"{name}{end}" for name in "ac" for end in (".h5", "_kspace.png", "_report.json")
    ]
    assert result.stderr.count("Error: ") == 1
    assert f"Error: {bad}: " in result.stderr
    assert result.stderr.splitlines()[-1] == "3 files: 2 done, 1 failed"
    assert "a.h5: 2 slices" in result.stdout
    assert "c.h5: 2 slices" in result.stdout
    report = json.loads(reconstruct(good, bad, last, "--json").stdout)
    assert [file["input"] for file in report["files"]] == [str(good), str(last)]
    assert [failure["input"] for failure in report["failed"]] == [str(bad)]
    assert str(bad) in report["failed"][0]["error"]


def test_all_files_bad(reconstruct, make_scan, tmp_path):
    files = [damaged(make_scan(name), "NaN") for name in ("a.h5", "b.h5")]
    result = reconstruct(*files)
    assert result.exit_code == 1
    assert result.stderr.count(f"Error: {tmp_path}") == 2
    assert result.stderr.splitlines()[-1] == "Error: all 2 files failed"
    assert outputs(tmp_path) == []


def test_a_failed_run_in_a_process(arguments, make_scan, tmp_path):
    path = damaged(make_scan(), "NaN")
    process = start(*arguments(path, "--json"))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert json.loads(stdout)["files"] == []
    assert stderr.splitlines()[-1].startswith(f"Error: {path}: ")
    assert stderr.count("\n") == 2  # with the line of its start
    assert outputs(tmp_path) == []


def test_interrupted(arguments, make_scan, tmp_path):
    process = start(*arguments(make_scan(slices=8), "--steps", 10_000, "--batch", 1))
    assert process.stderr.readline() == "scan.h5: 8 slices\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.strip() == "Interrupted"
    assert outputs(tmp_path) == []


def test_on_a_terminal_errors_have_their_own_line(arguments, make_scan):
    """The bar is live: what is printed meanwhile must not be glued to it."""
    good, bad = make_scan("[red].h5"), damaged(make_scan("b.h5"), "NaN")
    terminal, stderr = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "mri_iahvae", *arguments(good, bad)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment) as process:
        os.close(stderr)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # how a terminal ends
            pass
    os.close(terminal)
    assert process.returncode == 3
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()))
    assert [line for line in lines if line.startswith(f"Error: {bad}: ")]
    assert lines[-2:] == ["2 files: 1 done, 1 failed", ""]
    assert any(line.startswith("[red].h5") and "2/2" in line for line in lines)


def test_a_slice_whose_completion_is_out_of_bounds_is_named(tmp_path, head_kspace):
    """A point among heads: the run succeeds, and warning, attribute and report say which slice it was."""
    point = np.zeros((128, 128))
    point[40, 70] = 1
    kspace = np.stack([head_kspace(1, 128)[0], fft2c(torch.from_numpy(point).cfloat()).numpy()])
    mask = np.arange(128) % 3 == 0
    mask[59:69] = True
    np.save(tmp_path / "scan.npy", np.where(mask, kspace, 0).astype(np.complex64))
    common = ("-o", tmp_path / "out", "-q", "--method", "amortized", "--device", "cpu")
    result = CliRunner().invoke(main, ["reconstruct", *map(str, (tmp_path / "scan.npy", *common))])
    assert result.exit_code == 0, result.output
    assert "what the model added to slice 1 was out of bounds" in result.stderr
    data, stored = read(tmp_path / "out" / "scan.h5")
    assert stored["bounded"].tolist() == [False, True]
    assert json.loads((tmp_path / "out" / "scan_report.json").read_text())["bounded"] == [1]
    assert data["reconstruction"][1].max() < 2
