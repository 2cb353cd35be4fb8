"""`mri-iahvae plan`, as a user runs it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main


@pytest.fixture
def plan(checkpoint, tmp_path):
    """Runs the command; later options override the defaults here."""
    common = ("--checkpoint", checkpoint, "--device", "cpu", "-o", tmp_path / "out")
    return lambda *args: CliRunner().invoke(main, ["plan", *map(str, (*common, *args))])


@pytest.fixture
def example(tmp_path):
    path = tmp_path / "scan.h5"
    assert CliRunner().invoke(main, ["example", str(path)]).exit_code == 0
    return path


def test_the_example_is_planned_and_reconstructed_with_its_mask(plan, tool, example, tmp_path):
    options = (example, "--acceleration", 16, "--mask-type", "equispaced")
    result = plan(*options, "--lines", 3)
    assert result.exit_code == 0, result.output
    first, _, mask, picture = result.stdout.splitlines()
    columns = [int(word) for word in first.split("columns ")[1].split()]
    assert len(set(columns)) == 3
    assert [mask.strip(), picture.strip()] == [
        str(tmp_path / "out" / f"scan_plan.{end}") for end in ("npy", "png")
    ]
    report = json.loads(plan(*options, "--lines", 3, "--json").stdout)
    assert report["columns"] == columns
    assert np.load(report["mask"]).sum() > 3
    again = json.loads(plan(*options, "--lines", 3, "--every", 2, "--json").stdout)
    assert again["columns"][:2] == columns[:2]
    assert tool("reconstruct", example, "--mask", report["mask"], "--slices", 0).exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--lines", 200, "--acceleration", 16), 2, "left to plan"),
        (("--lines", 2), 2, "no column is left to plan"),
        (("--lines", 0), 2, "--lines"),
        (("--acceleration", 16), 2, "--lines"),
        (("--lines", 2, "--mask-type", "random"), 2, "--acceleration"),
        (("--lines", 2, "--acceleration", 4, "--mask-axis", "rows"), 2, "whole columns"),
    ],
)
def test_what_cannot_be_planned_ends_in_one_line(plan, example, tmp_path, args, code, words):
    result = plan(example, *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_folder_in_place_of_a_scan_is_wrong_usage(plan, tmp_path):
    result = plan(tmp_path, "--lines", 2)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"File '{tmp_path}' is a directory" in result.stderr
