"""The Python API of `reconstruct` and `denoise`."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c
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


@pytest.mark.filterwarnings("ignore:.*an even number:mri_iahvae.IahvaeWarning")
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
        assert error(other.image, plain.image) > 1e-5, options
        assert other.samples is None
    kept = reconstruct(kspace, up_to="8x8", checkpoint=checkpoint, samples=3, keep_samples=True)
    assert kept.samples.shape == (1, 3, 32, 32)
    assert kept.std.shape == (1, 32, 32)


def test_settings_are_taken_by_name(checkpoint, head_kspace):
    common = {"checkpoint": checkpoint, "device": "cpu"}
    options = {"method": "iterative", "steps": "auto", "samples": 2, "seed": 3, "data_consistency": "none"}
    result = mri_iahvae.reconstruct(head_kspace(1), **options, **common)
    assert result.settings == InferenceSettings(**options)
    noisy = mri_iahvae.denoise(head_kspace(1), 0.1, quality="fast", **common)
    assert noisy.settings == InferenceSettings("guide", data_consistency="soft", symmetries=1)
    for change, words in (
        ({"rate": 0.1}, "rate: no such setting; expected one of quality, method"),
        ({"up_to": "7x9"}, "--up-to 7x9"),
        ({"compile": True}, "compile: expected a CUDA device, found cpu"),
    ):
        with pytest.raises(UsageError, match=words):
            mri_iahvae.reconstruct(head_kspace(1), **change, **common)
    with pytest.raises(AttributeError, match="restore"):
        _ = mri_iahvae.restore


def test_in_bfloat16_the_shipped_model_gives_the_same_image(tmp_path):
    """The two differ by less than 0.05 % of the energy."""
    kspace = open_scan(write_example(tmp_path / "example.h5", noise=0)).read(slice(12, 13))
    mask, options = np.arange(128) % 3 > 0, {"device": "cpu", "data_consistency": "none"}
    high, low = (
        mri_iahvae.reconstruct(kspace, mask, precision=precision, **options).image
        for precision in ("float32", "bfloat16")
    )
    assert 1e-9 < error(low, high) ** 2 < 5e-4


def denoise(checkpoint, kspace, sigma, **options):
    return mri_iahvae.denoise(kspace, sigma, checkpoint=checkpoint, steps=2, device="cpu", **options)


def test_the_more_noise_the_less_the_data_count(checkpoint, head_kspace):
    kspace = 1e-5 * head_kspace(1)
    # At each scale: in joint refinement an untrained model may do anything in strong noise.
    distances = [error(denoise(checkpoint, kspace, s).kspace, kspace) for s in (1e-7, 1e-6, 1e-5)]
    assert 1e-5 < distances[0] < distances[1] < distances[2]


def test_one_noise_level_per_slice(checkpoint, head_kspace):
    kspace = head_kspace(2)
    both = denoise(checkpoint, kspace, np.array([0.0, 0.3]))
    assert error(both.kspace[0], kspace[0]) < 1e-5
    assert error(both.kspace[1], denoise(checkpoint, kspace[1:], 0.3).kspace[0]) < 1e-3


def test_samples_show_how_uncertain_a_denoised_image_is(checkpoint, head_kspace):
    """The standard deviation grows with the noise, and is not zero where everything is measured."""
    spreads = []
    for sigma in (0.0, 0.02, 0.2):
        result = denoise(checkpoint, head_kspace(1), sigma, samples=4, keep_samples=True)
        assert result.settings.data_consistency == "soft"
        assert error(result.samples.mean(axis=1), result.image) < 1e-5
        spreads.append(result.std)
    assert spreads[0].max() < 1e-4
    assert (spreads[1] > 0).all()
    assert spreads[2].mean() > 2 * spreads[1].mean()
