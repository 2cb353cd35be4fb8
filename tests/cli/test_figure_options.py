"""Options of the figure, as a user gives them: what is written, recorded, replaced and refused."""

import json

import numpy as np
import pytest

from mri_iahvae.pipeline import pictures

FAST = ("--up-to", "8x8", "--quality", "fast")


def test_options_of_the_figure_are_recorded_and_drawn(reconstruct, make_scan, outputs, read, monkeypatch):
    drawn, draw = {}, pictures.kspace_figure
    monkeypatch.setattr(
        pictures, "kspace_figure", lambda *args, **given: drawn.update(given) or draw(*args, **given)
    )
    path = make_scan(reference=True, voxel=(3.0, 1.0, 1.5))
    options = ("--panels", "reference, error,reconstruction,error", "--zoom", "2,3,8", "--window", 99)
    options += ("--error-factor", 4, "--figure-format", "svg", "--contact-sheet")
    result = reconstruct(path, *FAST, *options)
    assert result.exit_code == 0, result.output
    assert outputs() == ["scan.h5", "scan_kspace.svg", "scan_report.json", "scan_slices.svg"]
    assert "scan_slices.svg" in result.stdout
    recorded = {
        "panels": ["reference", "error", "reconstruction"],
        "zoom": [2, 3, 8],
        "window": 99,
        "error_factor": 4,
        "figure_format": "svg",
        "contact_sheet": True,
    }
    _, stored = read()
    assert recorded.items() <= json.loads(stored["options"]).items()
    assert drawn["options"].to_json() == recorded
    assert drawn["pixel"] == 1.5
    words = ("full sampling, up to 8x8", "6.2% measured", "acceleration 16x", "method guide", "model ")
    assert all(word in drawn["caption"] for word in words)


def test_defaults_are_recorded_too(denoise, make_scan, read):
    assert denoise(make_scan(), "--sigma", 1e-7, "--quality", "fast").exit_code == 0
    defaults = {
        "panels": [],
        "zoom": None,
        "window": 100,
        "error_factor": None,
        "figure_format": "png",
        "contact_sheet": False,
    }
    assert defaults.items() <= json.loads(read()[1]["options"]).items()


def test_figures_of_an_earlier_run_go_whatever_their_format(reconstruct, make_scan, tmp_path, outputs):
    path, whole = make_scan(), ["scan.h5", "scan_report.json"]
    for options, figures in (
        (("--figure-format", "pdf", "--contact-sheet"), ["scan_kspace.pdf", "scan_slices.pdf"]),
        (("--contact-sheet",), ["scan_kspace.png", "scan_slices.png"]),
        (("--figure-format", "svg"), ["scan_kspace.svg"]),
    ):
        assert reconstruct(path, *FAST, *options).exit_code == 0
        assert outputs() == sorted([*whole, *figures])
    (tmp_path / "out" / "scan_kspace.pdf").write_bytes(b"another program's")
    assert reconstruct(path, *FAST).exit_code == 0
    assert outputs() == sorted([*whole, "scan_kspace.pdf", "scan_kspace.png"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--panels", "deviation"], ["--panels deviation: of", "there are reference, zero-filled"]),
        (["--panels", "removed"], ["--panels removed: of"]),
        (["--zoom", "1,2"], ["--zoom", "60,40,48"]),
        (["--zoom", "1,2,0"], ["--zoom", "60,40,48"]),
        (["--window", 0], ["--window"]),
        (["--window", "nan"], ["--window"]),
        (["--error-factor", 0], ["--error-factor"]),
        (["--figure-format", "gif"], ["--figure-format"]),
        (["--error-factor", 5, "--panels", "reference"], ["--error-factor: the figure of", "leave it out"]),
    ],
)
def test_what_the_figure_cannot_show_is_refused(reconstruct, make_scan, expect_error, options, words):
    expect_error(reconstruct(make_scan(reference=True), *FAST, *options), 2, *words)


def test_what_is_there_can_be_asked_for(reconstruct, denoise, make_scan):
    """Standard deviations with samples, what was removed where a scan is denoised, k-space that was left out."""
    path = make_scan(reference=True)
    names = "deviation,reference-kspace"
    assert reconstruct(path, "--up-to", 8, "--samples", 2, "--panels", names).exit_code == 0
    assert denoise(path, "--sigma", 1e-7, "--quality", "fast", "--panels", "removed").exit_code == 0


def test_a_contact_sheet_has_the_slices_in_one_window(reconstruct, make_scan, read, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        pictures,
        "sheet_figure",
        lambda _, images, title, **given: drawn.update(given, images=images, title=title),
    )
    monkeypatch.setattr(pictures, "MOST_ON_SHEET", 3)
    monkeypatch.setattr(pictures, "_SHEET_PIXELS", 16)
    assert reconstruct(make_scan(slices=5), *FAST, "--contact-sheet", "--window", 90).exit_code == 0
    magnitude = read()[0]["reconstruction"]
    assert list(drawn["images"]) == ["0", "2", "4"]
    blocks = magnitude[::2].reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))  # 32 x 32 pixels to 16 x 16
    np.testing.assert_allclose(np.stack(list(drawn["images"].values())), blocks, rtol=1e-6)
    assert drawn["white"] == pytest.approx(np.percentile(blocks, 90))
    assert drawn["title"].splitlines()[-1] == "3 of 5 slices"


def test_a_figure_that_is_skipped_is_named(reconstruct, make_scan):
    scan = make_scan()
    assert reconstruct(scan, *FAST).exit_code == 0
    result = reconstruct(scan, *FAST, "--figure-format", "pdf", "--skip-existing")
    assert result.exit_code == 0
    assert "made with other options, and left so: --figure-format was png, now pdf" in result.output
