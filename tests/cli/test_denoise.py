"""`mri-iahvae denoise`, as a user runs it; what `reconstruct` has, too, is tested there."""

import json

import h5py
import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.simulate import write_example


def report(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["files"][0]


def test_result_figure_and_report(denoise, make_scan, outputs, read):
    result = denoise(make_scan(noise=0.05, reference=True, noise_sigma=5e-7))
    assert result.exit_code == 0, result.output
    assert outputs() == ["scan.h5", "scan_kspace.png", "scan_report.json"]
    lines = result.stdout.splitlines()
    assert lines[0].endswith("scan.h5: 2 slices, k-space 100.0% measured, 0.0% zero")
    assert "noise sigma 5e-07 per part (file)" in lines[3]
    data, stored = read()
    for line, word, name in zip(
        lines[4:], ("noisy", "denoised"), ("zero-filled", "reconstruction"), strict=False
    ):
        assert line.split()[:3] == [
            word,
            "NMSE",
            f"{stored[f'{name} nmse']:#.3g}",
        ]  # records name both as `reconstruct`
    assert data["reconstruction"].shape == (2, 32, 32)
    expected = {"task": "denoise", "data_consistency": "soft", "noise_sigma": 5e-7, "noise_source": "file"}
    assert {name: stored[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "stored", "source", "sigma"),
    [
        (["--sigma", 2e-7], {"noise_sigma": 5e-7}, "option", 2e-7),
        (["--relative-sigma", 0.5], {"noise_sigma": 5e-7}, "relative", None),
        ([], {"noise_sigma": np.array([1e-7, 3e-7])}, "file", 2e-7),
        ([], {}, "estimate", None),
    ],
)
def test_sources_of_the_noise_level(denoise, make_scan, options, stored, source, sigma):
    path = make_scan(noise=0.3, **stored)
    file = report(denoise(path, "--json", "--quality", "fast", *options))
    assert file["noise_source"] == source
    assert file.get("relative_sigma") == (0.5 if source == "relative" else None)
    if sigma is None:
        scale = np.median(rms(torch.from_numpy(open_scan(path).read(slice(None)))).numpy())
        sigma = scale * 0.5 / np.sqrt(1.5) if source == "relative" else 3e-6
    assert file["noise_sigma"] == pytest.approx(sigma, rel=0.2 if source == "estimate" else 1e-4)


@pytest.mark.parametrize("options", [["--sigma", 1e-6], ["--relative-sigma", 0.3], []])
def test_masks(denoise, make_scan, tmp_path, checkpoint, read, options):
    """Bins that the mask leaves out count for nothing, in the noise level neither."""
    path = make_scan(noise=0.1, mask=np.arange(32) != 3)
    mask = np.random.default_rng(2).random((32, 32)) < 0.7
    np.save(tmp_path / "mask.npy", mask)
    file = report(denoise(path, "--mask", tmp_path / "mask.npy", "--json", *options))
    kspace = open_scan(path).read(slice(None))
    mask[:, 3] = False
    assert file["fraction_measured"] == pytest.approx(mask.mean())
    assert file["true_acceleration"] == pytest.approx(1 / mask.mean())
    first, _ = read()
    np.testing.assert_array_equal(first["mask"], mask)
    with h5py.File(path, "r+") as spoiled:
        spoiled["kspace"][:] = np.where(mask, kspace, 1e3)
    again = report(denoise(path, "--mask", tmp_path / "mask.npy", "--json", *options))
    assert again["noise_sigma"] == file["noise_sigma"]
    np.testing.assert_array_equal(read()[0]["image"], first["image"])
    if file["noise_source"] == "option":
        sampled = mri_iahvae.denoise(kspace, 1e-6, mask, steps=2, device="cpu", checkpoint=checkpoint)
        np.testing.assert_array_equal(first["image"], sampled.image)


@pytest.mark.parametrize("relative", [0.2, 1.0])
def test_the_shipped_model_removes_noise(denoise, tmp_path, relative):
    example = open_scan(write_example(tmp_path / "example.h5", noise=0))
    chosen = slice(12, 13)
    kspace = torch.from_numpy(example.read(chosen))
    sigma = relative * rms(kspace)[:, None, None]
    noisy = kspace + complex_noise(tuple(kspace.shape), sigma, torch.Generator().manual_seed(0))
    path = tmp_path / "scan.h5"
    write_scan(path, noisy.numpy(), reference=example.read_reference(chosen))
    options = ("--checkpoint", "small", "--relative-sigma", relative, "--steps", 10, "--json")
    scores = report(denoise(path, *options))["scores"]
    assert scores["reconstruction"]["nmse"] < 0.7 * scores["zero-filled"]["nmse"]
