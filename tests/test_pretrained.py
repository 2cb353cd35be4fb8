"""The shipped model does what its card says: loads, is small, and beats zero-filling by a stored margin."""

import numpy as np
import pytest

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.model.checkpoint import find_checkpoint, load_model
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.simulate import write_example
from mri_iahvae.tasks.volume import reconstruct_volume


@pytest.fixture(scope="module")
def model():
    return load_model("small")[0]  # refuses weights whose SHA-256 is not the stored one


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Two slices of the example scan, and their noise-free magnitude."""
    scan = open_scan(write_example(tmp_path_factory.mktemp("example") / "scan.h5"))
    return scan.read(slice(11, 13)), scan.read_reference(slice(11, 13))


def nmse(image, reference):
    return float(((image - reference) ** 2).sum() / (reference**2).sum())


def test_the_weights_fit_into_a_repository():
    size = (find_checkpoint("small") / "model.safetensors").stat().st_size
    assert size < 16 * 2**20


# Bounds on NMSE over zero-filling's: what was measured when the weights were stored, and a margin of a tenth.
@pytest.mark.parametrize(("up_to", "bound"), [(16, 0.76), (32, 0.77), (64, 0.91)])
def test_completion_beats_zero_filling_by_the_stored_margin(model, example, up_to, bound):
    kspace, reference = example
    result = reconstruct_volume(model, kspace, None, InferenceSettings(steps=10), up_to=up_to)
    zero_filled = np.abs(np.fft.ifft2(np.fft.ifftshift(result.zero_filled, axes=(1, 2)), norm="ortho"))
    zero_filled = np.fft.fftshift(zero_filled, axes=(1, 2))
    assert nmse(result.magnitude, reference) < bound * nmse(zero_filled, reference)


def test_random_columns_are_completed_within_the_stored_margin(model, example):
    kspace, reference = example
    mask = np.broadcast_to(column_mask(128, 4, 0.08, "random", "scan.h5").numpy(), (128, 128))
    result = reconstruct_volume(model, kspace, mask, InferenceSettings(steps=10))
    zero_filled = np.abs(np.fft.ifft2(np.fft.ifftshift(result.zero_filled, axes=(1, 2)), norm="ortho"))
    zero_filled = np.fft.fftshift(zero_filled, axes=(1, 2))
    assert nmse(result.magnitude, reference) < 0.27 * nmse(zero_filled, reference)
