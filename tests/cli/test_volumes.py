"""Many files in one call, and large ones: as a user of a network disk runs them through a night."""

import fcntl
import gc
import json
import signal
import tracemalloc

import h5py
import numpy as np
import pytest
import torch

from mri_iahvae.model import checkpoint as checkpoint_module
from mri_iahvae.pipeline import output, pictures


@pytest.fixture
def run(cli):
    return lambda *args, command="reconstruct": cli(command, "--method", "amortized", *args)


@pytest.mark.parametrize("command", ["reconstruct", "denoise"])
def test_many_files_load_the_model_once_and_are_done_once(run, make_folder, tmp_path, monkeypatch, command):
    loads = []
    load = checkpoint_module.load
    monkeypatch.setattr(checkpoint_module, "load", lambda path: loads.append(path) or load(path))
    scans = make_folder("scans", 3, noise=0.05)
    assert run(scans / "1.h5", "-q", command=command).exit_code == 0
    first = (tmp_path / "out" / "1.h5").read_bytes()
    loads.clear()
    result = run(scans, "--skip-existing", "--json", command=command)
    assert result.exit_code == 0, result.output
    assert len(loads) == 1
    report = json.loads(result.stdout)
    assert [file["input"] for file in report["files"]] == [str(scans / "0.h5"), str(scans / "2.h5")]
    assert [file["input"] for file in report["skipped"]] == [str(scans / "1.h5")]
    assert (tmp_path / "out" / "1.h5").read_bytes() == first


def test_an_interrupted_night_keeps_what_is_done(arguments, start, make_folder, make_scan, outputs):
    scans = make_folder(
        "scans", 1, mask=np.zeros(32, bool)
    )  # of which nothing is measured: a draw from the prior
    make_scan("scans/1.h5", slices=8)
    command = arguments("reconstruct", scans, "--steps", "10000", "--batch", "1")
    process = start(command)
    reported = [process.stdout.readline()]
    while "_kspace.png" not in reported[-1]:
        reported.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, "")
    assert reported[0].startswith(f"{scans / '0.h5'}: 2 slices")
    lines = ["2 files: 1 done, 1 left; --skip-existing goes on from here", "Interrupted"]
    assert stderr.splitlines()[-2:] == lines
    assert outputs() == ["0.h5", "0_kspace.png", "0_report.json"]


def test_a_locked_file_is_read(run, tool, make_scan):
    """On network disks locks are left behind, or cannot be had at all."""
    path = make_scan()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):  # what a reader meets that asks for one
            h5py.File(path, locking=True)
        assert run(path).exit_code == 0
        assert tool("inspect", path).exit_code == 0


def test_no_scan_is_kept_open(run, make_folder, monkeypatch):
    """Not even while its slices are worked on: the file may be on a disk that goes away for a while."""
    scans = make_folder("scans", 2)
    seen = []

    def look(*_, **__):
        opened = h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE)
        seen.append([file.name.decode() for file in opened])

    inner = output.VolumeOutput.add
    monkeypatch.setattr(output.VolumeOutput, "add", lambda self, *args: look() or inner(self, *args))
    assert run(scans, "--batch", 1).exit_code == 0
    assert len(seen) == 4
    assert not [name for names in seen for name in names if name.startswith(str(scans))]
    look()
    assert seen[-1] == []


def held():
    """Bytes of tensors that are alive, each storage once; arrays made from tensors keep these alive."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.fixture
def peaks(run, monkeypatch):
    """Runs, and gives the most bytes of arrays and of tensors (while slices are handed on) at any time."""
    # Figures cost the same for every file, and Matplotlib has caches of its own.
    monkeypatch.setattr(pictures, "kspace_figure", lambda *_, **__: None)
    tensors = []
    inner = output.VolumeOutput.add
    monkeypatch.setattr(output.VolumeOutput, "add", lambda *args: tensors.append(held()) or inner(*args))

    def measure(*args):
        tensors.clear()
        tracemalloc.start()
        try:
            assert run(*args, "-q").exit_code == 0
            return np.array([tracemalloc.get_traced_memory()[1], max(tensors)])
        finally:
            tracemalloc.stop()

    return measure


@pytest.mark.parametrize(("files", "slices", "fraction"), [(5, 8, 1 / 8), (1, 28, 1 / 4)])
def test_memory_grows_neither_with_files_nor_with_slices(peaks, make_folder, files, slices, fraction):
    one, many = make_folder("one", 1, slices=8, size=96), make_folder("many", files, slices=slices, size=96)
    added = (files * slices - 8) * 96 * 96 * np.dtype(np.complex64).itemsize
    options = ("--batch", 2)
    peaks(one, *options)  # imports
    assert (peaks(many, *options) < peaks(one, *options) + fraction * added).all()
