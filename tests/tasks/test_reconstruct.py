"""The Python API of `reconstruct`, and files with soft consistency."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.model.checkpoint import find_checkpoint
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.simulate import write_example


def reconstruct(kspace, *args, **options):
    return mri_iahvae.reconstruct(kspace, *args, **{"steps": 2, "device": "cpu", **options})


def error(image, target):
    return np.linalg.norm(image - target) / np.linalg.norm(target)


def test_importing_the_package_does_not_import_torch():
    program = """
import sys, mri_iahvae
assert "torch" not in sys.modules
names = ("inspect", "reconstruct", "denoise", "sample", "evaluate")
assert all(callable(getattr(mri_iahvae, name)) for name in names)
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="restore"):
        _ = mri_iahvae.restore


def test_settings_are_taken_by_name(checkpoint, head_kspace):
    kspace = head_kspace(1)
    plain = mri_iahvae.reconstruct(kspace, checkpoint=checkpoint, device="cpu")
    assert plain.settings == InferenceSettings()
    options = {"method": "iterative", "steps": "auto", "samples": 2, "seed": 3, "data_consistency": "none"}
    result = mri_iahvae.reconstruct(kspace, checkpoint=checkpoint, device="cpu", **options)
    assert result.settings == InferenceSettings(**options)
    with pytest.raises(UsageError, match="rate: no such setting; expected one of quality, method"):
        reconstruct(kspace, checkpoint=checkpoint, rate=0.1)
    with pytest.raises(UsageError, match="steps auto"):
        reconstruct(kspace, checkpoint=checkpoint, steps="auto", optimizer="adam")


def test_arrays_in_and_out(checkpoint, head_kspace):
    kspace = 1e-5 * head_kspace(3).astype(np.complex128)
    mask = np.ones((32, 32), bool)
    mask[:, 1::3] = False
    result = reconstruct(kspace, mask, checkpoint=checkpoint)
    np.testing.assert_array_equal(reconstruct(kspace, mask[0], checkpoint=checkpoint).image, result.image)
    assert result.image.shape == result.kspace.shape == (3, 32, 32)
    assert result.image.dtype == np.complex64
    np.testing.assert_array_equal(result.kspace[:, mask], kspace.astype(np.complex64)[:, mask])
    assert error(fft2c(torch.from_numpy(result.image)).numpy(), result.kspace) < 1e-5
    assert result.settings == InferenceSettings(steps=2)


def test_options_reach_the_engine(checkpoint, head_kspace):
    kspace = head_kspace(1)
    plain = reconstruct(kspace, up_to="8x8", checkpoint=checkpoint)
    for options in (
        {"up_to": "16x16"},
        {"method": "iterative"},
        {"steps": 8},
        {"data_consistency": "none"},
        {"data_consistency": "soft", "noise_sigma": 0.5},
        {"noise_sigma": 0.5},
        {"optimizer": "adam"},
        {"precision": "bfloat16"},
        {"samples": 1},
        {"samples": 1, "seed": 1},
        {"samples": 1, "temperature": 0.5},
    ):
        other = reconstruct(kspace, **{"up_to": "8x8", "checkpoint": checkpoint, **options})
        assert error(other.image, plain.image) > 1e-4, options
        assert other.samples is None
    kept = reconstruct(kspace, up_to="8x8", checkpoint=checkpoint, samples=3, keep_samples=True)
    assert kept.samples.shape == (1, 3, 32, 32)
    assert kept.std.shape == (1, 32, 32)


@pytest.mark.parametrize("up_to", ["7x9", "3x3", "64x64", "0x0", "0", "64", "8x", "", 7.5])
def test_up_to_must_be_a_scale_of_the_model(checkpoint, head_kspace, up_to):
    with pytest.raises(UsageError, match="--up-to"):
        reconstruct(head_kspace(), up_to=up_to, checkpoint=checkpoint)


@pytest.mark.parametrize(
    "values", [np.ones((32, 32), complex), np.ones((1, 32, 32)), np.ones((1, 0, 8), complex)]
)
def test_arrays_that_cannot_be_are_refused(checkpoint, values):
    with pytest.raises(UsageError, match="kspace"):
        reconstruct(values, checkpoint=checkpoint)


def test_checkpoints_that_cannot_be_are_refused(tmp_path, head_kspace):
    with pytest.raises(UsageError, match="nowhere"):
        reconstruct(head_kspace(), checkpoint="nowhere")
    with pytest.raises(CheckpointError, match="config"):
        reconstruct(head_kspace(), checkpoint=tmp_path)


def test_qualities_are_names_for_settings(checkpoint, head_kspace):
    options = {"checkpoint": checkpoint, "device": "cpu", "up_to": 8}
    for quality, settings in (
        ("fast", InferenceSettings("guide")),
        ("default", InferenceSettings()),
        ("best", InferenceSettings(steps=15)),
    ):
        assert mri_iahvae.reconstruct(head_kspace(1), quality=quality, **options).settings == settings
    noisy = mri_iahvae.denoise(head_kspace(1), 0.1, quality="fast", checkpoint=checkpoint, device="cpu")
    assert noisy.settings == InferenceSettings("guide", data_consistency="soft")
    with pytest.raises(UsageError, match="compile: expected a CUDA device, found cpu"):
        mri_iahvae.reconstruct(head_kspace(1), compile=True, **options)


def test_in_bfloat16_the_shipped_model_gives_the_same_image(tmp_path):
    """The two differ by less than 0.05 % of the energy."""
    try:
        find_checkpoint("small")
    except UsageError:
        pytest.skip("the model 'small' is not shipped here")
    kspace = open_scan(write_example(tmp_path / "example.h5", noise=0)).read(slice(12, 13))
    high, low = (
        mri_iahvae.reconstruct(
            kspace,
            np.arange(128) % 3 > 0,
            device="cpu",
            steps=5,
            precision=precision,
            data_consistency="none",
        ).image
        for precision in ("float32", "bfloat16")
    )
    assert 1e-9 < error(low, high) ** 2 < 5e-4
