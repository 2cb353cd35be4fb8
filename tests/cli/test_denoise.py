"""`mri-iahvae denoise`, as a user runs it."""

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import mri_iahvae
from mri_iahvae.cli import main
from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.model.checkpoint import find_checkpoint
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.simulate import write_example


@pytest.fixture
def denoise(checkpoint, tmp_path):
    def run(*args, steps=2):
        common = ["--checkpoint", checkpoint, "--device", "cpu", "-o", tmp_path / "out"]
        common += ["--steps", steps] if "amortized" not in args else []  # which has none
        return CliRunner().invoke(main, ["denoise", *map(str, common), *map(str, args)])

    return run


def report(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["files"][0]


def image(tmp_path):
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        return file["image"][()]


def test_result_figure_and_report(denoise, make_scan, tmp_path):
    result = denoise(make_scan(noise=0.05, reference=True, noise_sigma=5e-7))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.glob("out/*")) == [
        "scan.h5",
        "scan_kspace.png",
        "scan_report.json",
    ]
    assert result.stderr == "scan.h5: 2 slices\n"
    lines = result.stdout.splitlines()
    assert lines[0].endswith("scan.h5: 2 slices, k-space 100.0% measured, 0.0% zero")
    assert lines[1] == "  mask: full sampling: true acceleration 1.00x"
    assert lines[2] == "  method hybrid; mean steps at scales 1, 2, 4 ...: 2 2 2 2 2 2"
    assert lines[3] == "  noise sigma 5e-07 per part (file)"
    assert [line.split()[0] for line in lines[4:6]] == ["noisy", "denoised"]
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        assert file["reconstruction"].dtype == np.float32
        assert file["reconstruction"].shape == (2, 32, 32)
        assert file.attrs["task"] == "denoise"
        assert file.attrs["data_consistency"] == "soft"
        assert file.attrs["noise_sigma"] == 5e-7
        assert file.attrs["noise_source"] == "file"


@pytest.mark.parametrize(
    ("options", "stored", "source", "sigma"),
    [
        (["--sigma", 2e-7], {"noise_sigma": 5e-7}, "option", 2e-7),
        (["--relative-sigma", 0.5], {"noise_sigma": 5e-7}, "relative", None),
        ([], {"noise_sigma": 5e-7}, "file", 5e-7),
        ([], {"noise_sigma": np.array([1e-7, 3e-7])}, "file", 2e-7),
        ([], {}, "estimate", None),
    ],
)
def test_sources_of_the_noise_level(denoise, make_scan, options, stored, source, sigma):
    path = make_scan(noise=0.3, **stored)
    file = report(denoise(path, "--json", *options))
    assert file["noise_source"] == source
    assert file.get("relative_sigma") == (0.5 if source == "relative" else None)
    if sigma is None:
        scale = np.median(rms(torch.from_numpy(open_scan(path).read(slice(None)))).numpy())
        sigma = scale * 0.5 / np.sqrt(1.5) if source == "relative" else 3e-6
    assert file["noise_sigma"] == pytest.approx(sigma, rel=0.2 if source == "estimate" else 1e-4)


def test_the_level_changes_the_result(denoise, make_scan, tmp_path):
    path = make_scan(noise=0.05)
    data = {}
    for sigma in (0, 1e-7, 1e-5):
        assert denoise(path, "--sigma", sigma).exit_code == 0
        data[sigma] = image(tmp_path)
    assert denoise(path, "--relative-sigma", 0).exit_code == 0
    np.testing.assert_array_equal(image(tmp_path), data[0])
    measured = open_scan(path).read(slice(None))
    energy = np.linalg.norm(measured)
    assert abs(np.linalg.norm(data[0]) / energy - 1) < 1e-5
    assert np.linalg.norm(data[1e-7] - data[0]) < np.linalg.norm(data[1e-5] - data[0])
    assert np.linalg.norm(data[1e-5] - data[0]) > 0.05 * energy


def test_sigma_zero_returns_the_data(denoise, make_scan):
    scores = report(denoise(make_scan(reference=True), "--sigma", 0, "--json"))["scores"]
    assert scores["reconstruction"]["nmse"] < 1e-9


def test_records_name_the_scores_as_reconstruct_does(denoise, make_scan, tmp_path):
    """Whoever reads records of both commands asks for one name; what is completed is told where something is."""
    path = make_scan(reference=True, noise=0.1)
    scores = report(denoise(path, "--acceleration", 4, "--json"))["scores"]
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        stored = {name: file.attrs[f"{name} nmse"] for name in ("zero-filled", "reconstruction")}
    assert stored == {name: values["nmse"] for name, values in scores.items()}
    text = denoise(path, "--acceleration", 4).stdout
    assert "% completed" in text
    assert f"  noisy           NMSE {stored['zero-filled']:#.3g}" in text
    assert f"  denoised        NMSE {stored['reconstruction']:#.3g}" in text


@pytest.mark.parametrize("options", [["--sigma", 1e-6], ["--relative-sigma", 0.3], []])
def test_masks(denoise, make_scan, tmp_path, checkpoint, options):
    """Bins that the mask leaves out count for nothing, in the noise level neither."""
    path = make_scan(noise=0.1, mask=np.arange(32) != 3)
    mask = np.random.default_rng(2).random((32, 32)) < 0.7
    np.save(tmp_path / "mask.npy", mask)
    file = report(denoise(path, "--mask", tmp_path / "mask.npy", "--json", *options))
    kspace = open_scan(path).read(slice(None))
    mask[:, 3] = False
    assert file["share_measured"] == pytest.approx(mask.mean())
    assert file["true_acceleration"] == pytest.approx(1 / mask.mean())
    first = image(tmp_path)
    with h5py.File(path, "r+") as spoiled:
        np.testing.assert_array_equal(h5py.File(file["output"])["mask"], mask)
        spoiled["kspace"][:] = np.where(mask, kspace, 1e3)
    again = report(denoise(path, "--mask", tmp_path / "mask.npy", "--json", *options))
    assert again["noise_sigma"] == file["noise_sigma"]
    np.testing.assert_array_equal(image(tmp_path), first)
    if file["noise_source"] == "option":
        sampled = mri_iahvae.denoise(kspace, 1e-6, mask, steps=2, device="cpu", checkpoint=checkpoint)
        np.testing.assert_array_equal(first, sampled.image)


def test_column_masks(denoise, make_scan):
    path = make_scan(noise=0.1)
    text = denoise(path, "--acceleration", 2, "--center-fraction", 0.3, "--mask-type", "equispaced").stdout
    assert "\n  mask: equispaced columns 2x, centre 0.3: true acceleration " in text


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(denoise, make_scan, tmp_path, scale):
    assert denoise(make_scan(scale=1.0, noise=0.1)).exit_code == 0
    plain = image(tmp_path)
    assert denoise(make_scan(scale=scale, noise=0.1)).exit_code == 0
    assert np.linalg.norm(image(tmp_path) / scale - plain) < 1e-3 * np.linalg.norm(plain)


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid", "paper"])
def test_every_method_runs(denoise, make_scan, method):
    assert report(denoise(make_scan(noise=0.1), "--method", method, "--json"))["method"] == method


def test_samples(denoise, make_scan, tmp_path):
    """Everything is measured, with noise: the uncertainty is zero nowhere, and grows with the noise."""
    path = make_scan(noise=0.1)
    spreads = []
    for sigma in (1e-7, 1e-6):
        result = denoise(path, "--sigma", sigma, "--samples", 4, "--keep-samples")
        assert result.exit_code == 0, result.output
        assert "; 4 posterior samples at temperature 1\n" in result.stdout
        with h5py.File(tmp_path / "out" / "scan.h5") as file:
            samples, spread = file["samples"][()], file["reconstruction_std"][()]
            np.testing.assert_allclose(file["image"], samples.mean(axis=1), rtol=1e-3, atol=1e-10)
        np.testing.assert_allclose(spread, np.abs(samples).std(axis=1), rtol=1e-3, atol=1e-12)
        assert (spread > 0).all()
        spreads.append(spread.mean())
    assert spreads[1] > 2 * spreads[0]


def test_a_level_that_cannot_be_estimated_is_said(denoise, make_scan):
    """k-space that was padded with zeros holds no noise at its edge."""
    path = make_scan(noise=0.1)
    with h5py.File(path, "r+") as file:
        for edge in (slice(0, 6), slice(26, 32)):
            file["kspace"][:, edge] = 0
            file["kspace"][:, :, edge] = 0
    result = denoise(path)
    assert result.exit_code == 0
    assert "noise sigma 0 per part (estimate)" in result.stdout
    assert "Warning: " in result.stderr
    assert "too little is measured to estimate the noise: taken as none" in result.stderr
    assert "Warning" not in denoise(path, "--sigma", 1e-6).stderr


def test_silent_slices_are_zeros_with_a_warning(denoise, make_scan, tmp_path):
    path = make_scan(noise=0.1)
    with h5py.File(path, "r+") as file:
        file["kspace"][1] = 0
    result = denoise(path)
    assert result.exit_code == 0
    assert "slice 1:" in result.stderr
    assert not image(tmp_path)[1].any()
    assert image(tmp_path)[0].all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sigma", 1, "--relative-sigma", 1], ["--sigma or --relative-sigma"]),
        (["--sigma", -1], ["--sigma"]),
        (["--sigma", "nan"], ["--sigma"]),
        (["--sigma", "inf"], ["--sigma"]),
        (["--relative-sigma", "inf"], ["--relative-sigma"]),
        (["--relative-sigma", "loud"], ["--relative-sigma"]),
        (["--steps", -5], ["--steps"]),
        (["--up-to", "8x8"], ["--up-to"]),
        (["--method", "paper", "--samples", 2], ["--samples does not apply to --method paper"]),
        (["--keep-samples"], ["--keep-samples needs --samples"]),
        (["--center-fraction", 0.1], ["give --acceleration too"]),
        (["--mask-type", "magic"], ["give --acceleration too"]),
        (["--mask", "a.npy", "--acceleration", 4], ["--mask or --acceleration"]),
    ],
)
def test_impossible_options(denoise, make_scan, tmp_path, options, words):
    result = denoise(make_scan(), *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert all(word in result.stderr.splitlines()[-1] for word in words)
    assert not list(tmp_path.glob("out/*"))


def test_a_mask_file_that_cannot_be_used(denoise, make_scan, tmp_path):
    np.save(tmp_path / "short.npy", np.ones(31))
    result = denoise(make_scan(), "--mask", tmp_path / "short.npy")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'short.npy'}: expected a mask")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("value", [np.nan, -1.0, "loud"])
def test_a_file_with_an_impossible_level(denoise, make_scan, tmp_path, value):
    path = make_scan()
    with h5py.File(path, "r+") as file:
        file.attrs["noise_sigma"] = value
    result = denoise(path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}: expected 'noise_sigma'")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("relative", [0.2, 1.0])
def test_the_shipped_model_removes_noise(denoise, tmp_path, relative):
    try:
        find_checkpoint("small")
    except UsageError:
        pytest.skip("the model 'small' is not shipped here")
    example = open_scan(write_example(tmp_path / "example.h5", noise=0))
    chosen = slice(8, 20, 4)
    kspace = torch.from_numpy(example.read(chosen))
    sigma = relative * rms(kspace)[:, None, None]
    noisy = kspace + complex_noise(tuple(kspace.shape), sigma, torch.Generator().manual_seed(0))
    path = tmp_path / "scan.h5"
    write_scan(path, noisy.numpy(), reference=example.read_reference(chosen))
    options = ("--checkpoint", "small", "--relative-sigma", relative, "--steps", 10, "--json")
    scores = report(denoise(path, *options))["scores"]
    assert scores["reconstruction"]["nmse"] < 0.7 * scores["zero-filled"]["nmse"]
