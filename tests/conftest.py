"""Synthetic data and a tiny model, shared by all tests."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.config import preset
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.scans.writer import write_scan
from mri_iahvae.training.statistics import canonical_batch, measure

# Where a shell started the tests in the background SIGINT is ignored, and the commands under test inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
        noisy = kspace + noise * (parts[0] + 1j * parts[1])
        write_scan(path, (scale * noisy).astype(np.complex64), reference=reference, **options)
        return path

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of a tiny model on the 32 x 32 grid: random weights, gains measured on head-like slices."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IAHVAE(preset("tiny"))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    kspace = fft2c(torch.from_numpy(head_images(8, 32)))
    model.set_config(measure(canonical_batch(kspace, 32), replace(model.config, sigma=0.1)))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(model, folder, {})
    return folder
