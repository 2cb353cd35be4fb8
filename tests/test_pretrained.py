"""The shipped model does what its card says: loads, is small, and beats zero-filling by a stored margin."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.shared.native_files import LAYOUTS, write_native
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.model.checkpoint import find_checkpoint, load_model
from mri_iahvae.model.coarse_file import load_coarse
from mri_iahvae.pipeline import pictures
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import Sampling
from mri_iahvae.tasks.simulate import write_example


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


def test_the_coarse_prior_is_that_of_canonical_blocks():
    """Their energy is N^2 on average, and half of their power is within two bins of DC."""
    prior, _ = load_coarse("small")
    mean, variance = prior.known().moments()
    power = mean.abs().square() + 2 * variance
    assert power.sum() == pytest.approx(128**2, rel=0.05)
    assert power[2:7, 2:7].sum() > power.sum() / 2


# Bounds on NMSE over zero-filling's: what was measured when the weights were stored, and a margin of a tenth.
@pytest.mark.parametrize(("up_to", "bound"), [(16, 0.58), (32, 0.77), (64, 0.74), (None, 0.3)])
def test_completion_beats_zero_filling_by_the_stored_margin(model, example, up_to, bound):
    """Of a central block, or of random columns."""
    kspace, reference = example
    mask = None if up_to else column_mask(128, 4, 0.08, "random", "scan.h5")
    result = reconstruct_volume(model, kspace, mask, InferenceSettings(steps=10), up_to=up_to)
    zero_filled = ifft2c(torch.from_numpy(result.zero_filled)).abs().numpy()
    assert nmse(result.magnitude, reference) < bound * nmse(zero_filled, reference)


def heads(example):
    """Slices (2, 256, 256) of the example, enlarged."""
    magnitude = torch.from_numpy(example[1])[:, None]
    return F.interpolate(magnitude, size=256, mode="bicubic").clamp_min(0)[:, 0].numpy()


def knees(_):
    """Coronal knees as scanners show them, (8, 320, 320): a leg that leaves the field of view above and below."""
    y, x = (np.mgrid[:320, :320] - 160) / 160

    def ellipse(cy, cx, ry, rx):
        return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1

    femur = (abs(x) < 0.3) & (y < -0.1) | ellipse(-0.15, -0.25, 0.22, 0.3) | ellipse(-0.15, 0.25, 0.22, 0.3)
    tibia = (abs(x) < 0.26) & (y > 0.15) | (abs(x) < 0.52) & (y > 0.1) & (y < 0.3)
    bone = femur | tibia | ellipse(0.7, 0.5, 0.45, 0.08)
    images = []
    for width in np.linspace(0.75, 0.95, 8):
        side = width * (1 - 0.12 * y)
        images.append(np.select([abs(x) > side, bone, abs(x) > side - 0.12], [0, 0.7, 0.9], 0.35))
    return np.stack(images)


@pytest.mark.parametrize(
    ("draw", "noise", "acceleration", "strange"),
    [
        (heads, 0.01, 4, False),
        (heads, 0.01, None, False),
        (knees, 0.02, 4, True),
        (knees, 0.02, None, True),
        (lambda _: np.ones((4, 320, 320)), 100, 4, True),  # no signal to speak of beside the noise
        (lambda _: np.ones((4, 320, 320)), 100, None, True),
    ],
)
def test_native_files_that_are_no_heads_are_warned_of(
    example, tmp_path, monkeypatch, draw, noise, acceleration, strange
):
    monkeypatch.setattr(pictures, "kspace_figure", lambda *_, **__: None)
    path = tmp_path / "scan.h5"
    write_native(path, LAYOUTS["640x368"], draw(example), noise=noise)
    report = run_file(
        LoadedModel.load("small", torch.device("cpu")),
        path,
        tmp_path / "result.h5",
        Request(sampling=Sampling(acceleration=acceleration)),
        InferenceSettings("amortized"),
    )
    words = "unlike the training data", "stronger than in training"
    unlike = [warning for warning in report["warnings"] if any(word in warning for word in words)]
    assert len(unlike) == strange, report["out_of_distribution"]
