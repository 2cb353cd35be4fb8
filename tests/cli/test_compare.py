"""`--compare`, as a user gives it."""

import json
import sys

import h5py
import numpy as np
import pytest

from mri_iahvae.pipeline import pictures
from mri_iahvae.results.hdf5 import write_scan

FAST = ("--quality", "fast", "--acceleration", 2, "--center-fraction", 0.25)


@pytest.fixture
def coils(tmp_path, coil_kspace):
    """A fully sampled scan of four coils, with a little noise."""
    kspace = coil_kspace()
    parts = 0.01 * np.random.default_rng(0).normal(size=(2, *kspace.shape))
    write_scan(
        tmp_path / "scan.h5", (kspace + parts[0] + 1j * parts[1]).astype(np.complex64), noise_sigma=0.01
    )
    return tmp_path / "scan.h5"


def test_rivals_have_panels_scores_and_images(reconstruct, coils, tmp_path, monkeypatch):
    drawn, draw = {}, pictures.kspace_figure
    monkeypatch.setattr(
        pictures,
        "kspace_figure",
        lambda _, views, **given: drawn.update(given, view=views[0]) or draw(_, views, **given),
    )
    result = reconstruct(coils, *FAST, "--compare", "zero-filled,sense")
    assert result.exit_code == 0, result.output
    words = "compared: SENSE (weight 1.6 sigma^2), sigma 0.01 (file)"
    assert words in result.stdout
    assert words in drawn["caption"]
    assert list(drawn["view"].compared) == ["zero-filled", "sense"]
    assert list(drawn["scores"]) == ["zero-filled", "SENSE", "reconstruction"]
    report = json.loads((tmp_path / "out" / "scan_report.json").read_text())
    assert report["scores"]["sense"]["nmse"] < 0.8 * report["scores"]["zero-filled"]["nmse"]
    assert report["options"]["compare"] == {"zero-filled": None, "sense": None}
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        assert list(file["compare"]) == ["sense"]
        images = file["compare/sense"][()]
        assert file.attrs["sense nmse"] == report["scores"]["sense"]["nmse"]
    np.testing.assert_array_equal(images[1], drawn["view"].compared["sense"])
    other = reconstruct(coils, *FAST, "--compare", "sense=2", "--skip-existing")
    assert "--compare was {'zero-filled': None, 'sense': None}, now {'sense': 2.0}" in other.output


def test_total_variation_beats_zero_filling_by_its_default_weight(reconstruct, make_scan, tmp_path):
    pytest.importorskip("sigpy")
    path = make_scan(reference=True, noise=0.005, noise_sigma=5e-8)
    result = reconstruct(path, *FAST, "--compare", "tv,wavelet=0.2", "--panels", "tv,wavelet,tv-error")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "out" / "scan_report.json").read_text())["scores"]
    assert scores["tv"]["nmse"] < 0.5 * scores["zero-filled"]["nmse"]
    assert scores["wavelet"]["nmse"] < scores["zero-filled"]["nmse"]
    assert "weight 0.2 sigma" in result.stdout


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        ("sense", ["--compare sense: ", "holds a single coil, expected several; leave it out"]),
        ("bm3d", ["--compare bm3d: expected names among zero-filled, tv, wavelet, sense"]),
        ("zero-filled=1", ["--compare zero-filled=1: zero-filled has no weight"]),
        ("zero-filled,zero-filled", ["--compare", "zero-filled twice"]),
        ("tv=0", ["--compare", "'tv=0' is not a name and a weight above 0, such as tv=0.5"]),
        ("tv=-1", ["--compare", "'tv=-1' is not a name"]),
    ],
)
def test_what_cannot_be_compared_is_refused(reconstruct, make_scan, expect_error, compared, words):
    expect_error(reconstruct(make_scan(), *FAST, "--compare", compared), 2, *words)


def test_without_sigpy_it_says_what_to_install(reconstruct, make_scan, expect_error, monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy", None)
    refused = reconstruct(make_scan(), *FAST, "--compare", "wavelet")
    expect_error(refused, 2, "--compare wavelet needs sigpy: pip install 'mri-iahvae[compare]'")
