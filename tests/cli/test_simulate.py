import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.scans.reader import open_scan


@pytest.fixture
def head(tmp_path):
    path = tmp_path / "head.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 30, 2), np.float32), np.eye(4)), path)
    return path


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_results_on_stdout_and_progress_on_stderr(head, tmp_path):
    result = run(
        "simulate", head, "-o", tmp_path / "out", "--acceleration", 4, "--seed", 3, "--reference", "noisy"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out' / 'head.h5'}\n"
    assert f"{head}: 2 slices of 128x128 (padded from 30x20), true acceleration" in result.stderr
    scan = open_scan(tmp_path / "out" / "head.h5")
    assert (scan.slices, scan.mask_source, scan.reference) == (2, "file", (128, 128))


def test_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("example")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "scan.h5\n", "")
    assert open_scan(tmp_path / "scan.h5").slices == 24
    assert run("example").exit_code == 2
    assert run("example", "--overwrite", "--noise", 0.3).exit_code == 0
