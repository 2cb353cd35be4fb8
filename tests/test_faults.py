"""A disk that is full at any moment, for libraries in C too: one line, nothing half-written, and the work goes on."""

import resource
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.training.states import states


@contextmanager
def full_disk(room):
    """No file can grow beyond `room` bytes: the system refuses, as it refuses on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def one_line(result, *words):
    assert result.exit_code == 1, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert all(word in errors[0] for word in words), errors
    assert isinstance(result.exception, SystemExit)  # which Click makes of errors that it shows


@pytest.fixture
def reconstruct(make_scan, tool):
    """Runs on one scan, whose files are between 0.2 and 100 kB: the report, the NIfTI file, the result, the figure."""
    scan = make_scan(slices=4)
    return lambda *options: tool("reconstruct", scan, "--nifti", *options)


@pytest.mark.parametrize("room", [0, 1000, 20_000])
def test_reconstruct_on_a_full_disk(reconstruct, tmp_path, room):
    with full_disk(room):
        one_line(reconstruct(), "cannot be written", "choose another output")
    left = {path.name for path in tmp_path.glob("out/*")}
    assert "scan.h5" not in left
    assert not [name for name in left if name.endswith(".part")]
    assert reconstruct("--skip-existing").exit_code == 0
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        before = file["image"][()]
    with full_disk(room):
        one_line(reconstruct(), "cannot be written")
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        np.testing.assert_array_equal(file["image"], before)


@pytest.fixture
def train(make_folder, tool):
    """Trains a step on each of two grids, into a folder."""
    data = make_folder("data", 2, slices=1)

    def run(folder, *options):
        plan = ["--preset", "tiny", "--stages", "16:1,32:1", "--batch", "2", "--validate-every", "1"]
        return tool("train", data, "-o", folder, *plan, "--device", "cpu", *options)

    return run


@pytest.mark.parametrize("fraction", [0, 0.6])
def test_train_on_a_disk_that_fills(train, tmp_path, fraction):
    """Files of up to a fraction of the largest state fit; the run ends in one line, and goes on where there is room."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(whole).exit_code == 0
    with full_disk(int(fraction * states(whole)[-1][2].stat().st_size)):
        one_line(train(run), "cannot be written")
    assert not list(run.rglob("*.part"))
    assert train(run, *(["--resume"] if states(run) else [])).exit_code == 0
    assert load_model(run / "model")[1] == load_model(whole / "model")[1]
