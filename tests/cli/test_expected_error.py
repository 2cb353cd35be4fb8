"""Expected errors and intervals, as a user finds them in the output."""

import json

import numpy as np
import pytest

from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.model.interval_file import Intervals, save_intervals

FAST = ("--up-to", "8x8", "--quality", "fast")


@pytest.fixture
def with_intervals(checkpoint, tmp_path):
    """A copy of the tiny checkpoint that has intervals."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    save_intervals(Intervals(0.9, 2.5, 20, load_guide(folder)[1]), folder)
    return folder


def test_both_are_written(reconstruct, make_scan, read, tmp_path, with_intervals):
    result = reconstruct(make_scan(), *FAST, "--checkpoint", with_intervals)
    assert result.exit_code == 0, result.output
    data, stated = read()
    assert data["expected_error"].shape == data["reconstruction"].shape
    assert data["expected_error"].dtype == np.float32
    assert (data["expected_error"] > 0).all()
    assert (stated["interval_level"], stated["interval_factor"]) == (0.9, 2.5)
    report = json.loads((tmp_path / "out" / "scan_report.json").read_text())
    assert report["interval_factor"] == 2.5


def test_without_intervals_errors_are_expected_all_the_same(reconstruct, make_scan, read):
    assert reconstruct(make_scan(), *FAST).exit_code == 0
    data, stated = read()
    assert "expected_error" in data
    assert "interval_factor" not in stated


def test_methods_without_a_guide_expect_none(reconstruct, make_scan, read, with_intervals):
    path = make_scan()
    assert reconstruct(path, "--method", "iterative", "--checkpoint", with_intervals).exit_code == 0
    data, stated = read()
    assert "expected_error" not in data
    assert "interval_factor" not in stated


def test_its_panel_is_drawn_or_refused(reconstruct, make_scan, outputs, expect_error):
    path, panels = make_scan(), ("--panels", "reconstruction,expected-error")
    refused = reconstruct(path, "--method", "iterative", *panels)
    expect_error(refused, 2, "--panels expected-error: of")
    assert reconstruct(path, *FAST, *panels).exit_code == 0
    assert "scan_kspace.png" in outputs()
