"""Synthetic data and a tiny model, shared by all tests."""

import contextlib
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.shared.native_files import LAYOUTS, write_native
from mri_iahvae.cli import main
from mri_iahvae.inference import bounds, precision
from mri_iahvae.inference.bounds import MARGIN, REACH
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import guide_of, preset
from mri_iahvae.pipeline import pictures
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.training.statistics import canonical_batch, measure

# Where a shell started the tests in the background SIGINT is ignored, and the commands under test inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:  # one core for each of them
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start


def pytest_collection_modifyitems(items):
    """The longest first: no worker should end with them alone."""
    items.sort(key=lambda item: not item.path.name.endswith("_runs.py"))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def kspace(rng):
    """complex64 (3, 20, 17): neither square nor even."""
    shape = (3, 20, 17)
    return (1e-5 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))).astype(np.complex64)


def head_images(slices, size):
    """Complex images (slices, size, size), largest magnitude 1: ellipses that shrink towards the last slice."""
    y, x = (np.mgrid[:size, :size] - size // 2) / (size / 2)
    images = []
    for number in range(slices):
        shrink = 1 - 0.4 * number / max(1, slices)

        def ellipse(cy, cx, ry, rx, shrink=shrink):
            return ((y - cy) / (ry * shrink)) ** 2 + ((x - cx) / (rx * shrink)) ** 2 < 1

        skull, brain = ellipse(0, 0, 0.9, 0.7), ellipse(0, 0, 0.8, 0.6)
        magnitude = 1.0 * skull - 0.5 * brain + 0.3 * ellipse(-0.2, 0.2, 0.3, 0.12)
        magnitude += 0.4 * ellipse(0.3, -0.2, 0.15, 0.2) + 0.2 * ellipse(0.1, 0.25, 0.1, 0.1)
        images.append(magnitude * np.exp(1j * (0.5 * x + 0.8 * y * y + 0.2 * number)))
    return np.stack(images).astype(np.complex64)


@pytest.fixture
def head_kspace():
    """Makes k-space of head-like slices: (slices, size) to complex64 (slices, size, size)."""

    def make(slices=2, size=32):
        return fft2c(torch.from_numpy(head_images(slices, size))).numpy()

    return make


@pytest.fixture(scope="session")
def coil_maps():
    """Makes smooth sensitivities on a ring: (coils, H, W) to complex64 of that shape, sum of squares 1."""

    def make(coils, height, width):
        y, x = np.mgrid[:height, :width]
        y, x = (y - height // 2) / (height / 2), (x - width // 2) / (width / 2)
        angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
        near = np.exp(-((y - np.sin(angle)) ** 2 + (x - np.cos(angle)) ** 2) / 2)
        maps = near * np.exp(1j * (angle + 0.6 * np.cos(angle) * y - 0.4 * np.sin(angle) * x))
        return (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)

    return make


@pytest.fixture
def coil_kspace(head_kspace, coil_maps):
    """Makes k-space of head-like slices that several coils measured, complex64 (slices, coils, size, size)."""

    def make(slices=2, coils=4, size=32):
        images = ifft2c(torch.from_numpy(head_kspace(slices, size)))[:, None]
        return fft2c(images * torch.from_numpy(coil_maps(coils, size, size))).numpy()

    return make


@pytest.fixture
def make_scan(tmp_path, head_kspace):
    """Writes a scan of head-like slices into the folder of the test, and returns its path.

    `noise` is sigma per part in units of the largest magnitude, `reference` what `write_scan` takes, or True for
    the noise-free magnitude. All else goes to `write_scan`.
    """

    def make(name="scan.h5", *, slices=2, size=32, scale=1e-5, noise=0.0, reference=None, **options):
        kspace = head_kspace(slices, size)
        parts = np.random.default_rng(1).normal(size=(2, *kspace.shape))
        if reference is True:
            reference = scale * np.abs(head_images(slices, size))
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        noisy = kspace + noise * (parts[0] + 1j * parts[1])
        write_scan(path, (scale * noisy).astype(np.complex64), reference=reference, **options)
        return path

    return make


@pytest.fixture
def make_folder(make_scan, tmp_path):
    """Writes so many scans, with ever more noise, into a folder, and returns that; all else goes to `make_scan`."""

    def make(name, count, **options):
        (tmp_path / name).mkdir()
        for number in range(count):
            make_scan(f"{name}/{number}.h5", **{"noise": 0.01 * (number + 1), **options})
        return tmp_path / name

    return make


@pytest.fixture(scope="session", autouse=True)
def unbounded():
    """Random weights keep no bounds: their latents have to go far to explain data. `within_bounds` sets them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "REACH", math.inf)
        patch.setattr(bounds, "MARGIN", math.inf)
        yield


@pytest.fixture(scope="session", autouse=True)
def float32():
    """The same numbers on every processor; of the processes that tests start, those that it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "has_bfloat16", lambda _: False)
        yield


@pytest.fixture
def within_bounds(monkeypatch):
    """The bounds of the package."""
    monkeypatch.setattr(bounds, "REACH", REACH)
    monkeypatch.setattr(bounds, "MARGIN", MARGIN)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of a tiny model on the 32 x 32 grid: random weights, gains measured on head-like slices; with a guide."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, guide = IAHVAE(preset("tiny")), Guide(guide_of("tiny"))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    kspace = fft2c(torch.from_numpy(head_images(8, 32)))
    model.set_config(measure(canonical_batch(kspace, 32), replace(model.config, sigma=0.1)))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(model, folder, {})
    save_guide(guide, folder, {})
    return folder


@pytest.fixture
def native(tmp_path, head_kspace):
    """Writes heads in fastMRI's exact schema at a native size, and returns the file's path.

    `size` is a key of `benchmarks.shared.native_files.LAYOUTS`; `change` gets the h5py file before it is closed; all
    else goes to `write_native`.
    """

    def write(size, name="scan.h5", *, slices=1, change=lambda _: None, **options):
        heads = ifft2c(torch.from_numpy(head_kspace(slices, 256))).abs().numpy()
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        write_native(path, LAYOUTS[size], heads, **options)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return write


@pytest.fixture
def tool(checkpoint, tmp_path):
    """Runs a command with the tiny model; results of `reconstruct` go to the folder `out`."""

    def run(command, *arguments):
        own = ["--checkpoint", checkpoint] if command in {"reconstruct", "inspect"} else []
        if command == "reconstruct":
            own += ["--device", "cpu", "-q", "--method", "amortized", "-o", tmp_path / "out"]
        return CliRunner().invoke(main, [command, *map(str, [*own, *arguments])], catch_exceptions=False)

    return run


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing is most of the time of a short run."""
    monkeypatch.setattr(pictures, "kspace_figure", lambda *_, **__: None)


@pytest.fixture
def start():
    """Starts a command in a process of its own, with output to pipes unless it goes elsewhere."""
    started = []

    def begin(arguments, environment=(), program=("-m", "mri_iahvae"), **streams):
        pipes = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
        }
        command = [sys.executable, *map(str, (*program, *arguments))]
        process = subprocess.Popen(command, env={**os.environ, **dict(environment)}, **{**pipes, **streams})
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):  # nothing is left of it, nor of those that it started
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def guide():
    """A small guide with random weights."""
    torch.manual_seed(0)
    guide = Guide(GuideConfig(2, (4, 8), 1))
    with torch.no_grad():
        for weight in guide.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return guide.eval().requires_grad_(requires_grad=False)
