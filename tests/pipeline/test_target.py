"""What results are scored against: never the noise they were made of, nor an image of another kind."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mri_iahvae.evaluation.metrics import score
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline import pictures
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.scans.undersampling import Sampling

HALF = Request(sampling=Sampling(acceleration=2))
REFERENCE, ALL = "its reference", "the image of all its k-space"
WEIGHTED = "the sensitivity-weighted image of all its k-space"


@pytest.fixture
def run(loaded, tmp_path, monkeypatch):
    """Runs a file; gives the report, the image, and what the figure shows."""
    views = []
    monkeypatch.setattr(pictures, "kspace_figure", lambda _path, given, **_: views.extend(given))

    def make(path, request, settings=None):
        views.clear()
        settings = settings or InferenceSettings(
            "guide", data_consistency="soft" if request.task == "denoise" else "hard"
        )
        report = run_file(loaded, path, tmp_path / "out" / path.name, request, settings)
        with h5py.File(report["output"]) as file:
            return report, file["reconstruction"][()], views[0]

    return make


@pytest.fixture
def measured_image(make_scan):
    """Writes a noisy scan whose reference is the magnitude of the noisy image itself, as fastMRI's are."""

    def write(noise=0.05, scale=1.0, **options):
        with h5py.File(make_scan("noisy.h5", noise=noise)) as file:
            kspace = file["kspace"][()]
        image = scale * np.abs(ifft2c(torch.from_numpy(kspace)).numpy())
        return make_scan("noisy.h5", noise=noise, reference=image, **options)

    return write


@pytest.fixture
def coils(tmp_path, coil_kspace, rng):
    """Writes a scan of four coils, with its root sum of squares unless `reference` says otherwise."""

    def write(reference=True, mask=None):
        kspace = coil_kspace() + 0.01 * rng.normal(size=(2, 4, 32, 32))
        path = tmp_path / "coils.h5"
        with h5py.File(path, "w") as file:
            file["kspace"] = kspace.astype(np.complex64)
            full = ifft2c(torch.from_numpy(kspace.astype(np.complex64)))
            if reference:
                file["reconstruction_rss"] = torch.linalg.vector_norm(full, dim=1).numpy()
            if mask is not None:
                file["mask"] = mask
        return path

    return write


def test_a_denoised_scan_is_not_scored_against_its_own_noise(run, measured_image):
    report, _, view = run(measured_image(), Request("denoise"))
    assert report["scores"] == {}
    assert sum("very k-space that was denoised" in line for line in report["warnings"]) == 1
    assert view.reference is None
    with h5py.File(report["input"]) as file, h5py.File(report["output"]) as result:
        noisy = ifft2c(torch.from_numpy(file["kspace"][1])).numpy()
        np.testing.assert_allclose(view.removed, np.abs(noisy - result["image"][1]), rtol=1e-2, atol=1e-8)


def test_a_reference_that_has_other_noise_is_one(run, make_scan):
    """Noise-free beside noise of a thousandth, which is far more than rounding."""
    report, _, view = run(make_scan(noise=1e-3, reference=True), Request("denoise"))
    assert report["scored_against"] == REFERENCE
    assert report["scores"]["zero-filled"]["nmse"] > 0
    assert view.reference is not None


def test_an_empty_slice_does_not_make_two_references_equal(run, make_scan):
    path = make_scan(slices=3, noise=0.05, reference=True)
    with h5py.File(path, "r+") as file:
        file["kspace"][1] = file["reconstruction_esc"][1] = 0
    assert run(path, Request("denoise"))[0]["scored_against"] == REFERENCE


def test_what_a_reconstruction_left_out_is_its_target(run, make_scan, measured_image):
    """Without a stored reference the scores are those that the image of all k-space would give as one."""
    stored, _, _ = run(measured_image(), HALF)
    report, _, _ = run(make_scan("noisy.h5", noise=0.05), HALF)
    assert (stored["scored_against"], report["scored_against"]) == (REFERENCE, ALL)
    for name in stored["scores"]:
        assert report["scores"][name] == pytest.approx(stored["scores"][name], rel=1e-4)
    assert json.loads(Path(report["report"]).read_text())["scored_against"] == ALL


@pytest.mark.parametrize("request_", [Request(), Request("denoise"), Request("denoise", HALF.sampling)])
def test_nothing_is_scored_where_nothing_else_is_known(run, make_scan, request_):
    report, _, _ = run(make_scan(noise=0.05), request_)
    assert report["scores"] == {}
    assert "scored_against" not in report


def test_an_undersampled_scan_has_no_target_of_its_own(run, make_scan):
    report, _, _ = run(make_scan(mask=np.arange(32) % 2 == 0), Request(up_to=16))
    assert report["scores"] == {}


def test_a_spike_spoils_the_image_of_all_k_space(run, make_scan):
    path = make_scan(noise=0.01)
    with h5py.File(path, "r+") as file:
        file["kspace"][1, 3, 20] = 100 * np.abs(file["kspace"][()]).max()
    report, _, _ = run(path, HALF)
    assert report["scores"] == {}


def test_weighted_coils_are_scored_against_their_own_kind(run, coils):
    request = Request(sampling=HALF.sampling, coil_combine="sensitivity")
    report, image, view = run(coils(), request)
    assert report["scored_against"] == WEIGHTED
    assert report["scores"]["reconstruction"]["nmse"] < report["scores"]["zero-filled"]["nmse"]
    single = score(view.reference[None], image[1:])
    assert single.nmse == pytest.approx(report["scores"]["reconstruction"]["nmse"], rel=0.5)
    with h5py.File(report["input"]) as file:
        rss = file["reconstruction_rss"][1]
    assert (
        score(rss[None], view.reference[None]).nmse > 1e-6
    )  # its noise is less than a root sum of squares has


def test_weighted_coils_are_not_scored_against_a_root_sum_of_squares(run, coils):
    report, _, _ = run(coils(mask=np.arange(32) != 5), Request(coil_combine="sensitivity"))
    assert report["scores"] == {}
    assert any("root sum of squares" in line for line in report["warnings"])
    rss, _, _ = run(coils(mask=np.arange(32) != 5), Request())
    assert rss["scored_against"] == REFERENCE
