"""Samples of the prior: the Python API and what it leaves behind."""

import shutil

import h5py
import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.model.coarse_file import load_coarse, save_coarse
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.tasks.sample import progression, sample_to_folder
from tests.model.test_mixture import random_mixture

CPU = torch.device("cpu")


@pytest.fixture
def sample(checkpoint):
    return lambda *args, **options: mri_iahvae.sample(
        *args, **{"checkpoint": checkpoint, "device": "cpu", **options}
    )


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_a_sample_depends_on_seed_and_number_alone(sample):
    images = sample(5, seed=3)
    assert images.shape == (5, 32, 32)
    assert images.dtype == np.complex64
    for options in ({"batch": 1}, {"batch": 2}, {"batch": 5}):
        assert relative(sample(5, seed=3, **options), images) < 1e-5
    assert relative(sample(2, seed=3), images[:2]) < 1e-5
    assert relative(sample(5, seed=4), images) > 0.1


def test_all_samples_are_independent(sample):
    """No two of them mirror each other about the prior mean, as pairs of posterior samples do."""
    images = sample(6) - sample(1, temperature=0)
    flat = images.reshape(6, -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    correlation = np.abs(flat @ flat.conj().T) - np.eye(6)
    assert correlation.max() < 0.9


def test_progression_sums_the_bands(sample):
    image = sample(1)[0]
    stages = progression(image)
    assert stages.shape == (6, 32, 32)
    assert stages.dtype == np.complex64
    np.testing.assert_allclose(stages[-1], image, atol=1e-5)
    whole = fft2c(torch.from_numpy(image))
    for index, stage in enumerate(stages):
        expected = torch.where(block_mask(2**index, 32), whole, 0)
        torch.testing.assert_close(fft2c(torch.from_numpy(stage)), expected, rtol=1e-5, atol=1e-4)


def test_files_reproduce_themselves(sample, checkpoint, tmp_path):
    loaded = LoadedModel.load(str(checkpoint), CPU)
    counts = []
    options = {"temperature": 0.7, "seed": 5, "with_progression": True, "batch": 2}
    files = sample_to_folder(loaded, tmp_path / "new" / "folder", 3, **options, progress=counts.append)
    assert counts == [2, 1]
    assert [path.name for path in files] == ["samples.png", "progression.png", "samples.h5"]
    assert sorted(files) == sorted((tmp_path / "new" / "folder").iterdir())
    with h5py.File(files[-1]) as file:
        attributes = dict(file.attrs)
        assert set(file) == {"samples", "progression"}
        images, stages = file["samples"][()], file["progression"][()]
    again = sample(len(images), temperature=attributes["temperature"], seed=int(attributes["seed"]))
    assert relative(images, again) < 1e-5
    np.testing.assert_allclose(stages, [progression(image) for image in images], atol=1e-6)
    assert attributes["model_sha256"] == loaded.sha256
    assert attributes["version"] == mri_iahvae.__version__
    assert attributes["scales"].tolist() == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    "options",
    [{"count": 0}, {"batch": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"seed": -1}],
)
def test_what_cannot_be_drawn(sample, options):
    with pytest.raises(UsageError):
        sample(**options)


def test_samples_that_are_not_finite_are_not_written(checkpoint, tmp_path):
    loaded = LoadedModel.load(str(checkpoint), CPU)
    with pytest.raises(IahvaeError, match=r"temperature 1e\+38: .*choose a lower one"):
        sample_to_folder(loaded, tmp_path, 1, temperature=1e38, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def with_coarse(checkpoint, tmp_path):
    """The checkpoint, with a prior of its block B_8."""
    folder = tmp_path / "with coarse"
    shutil.copytree(checkpoint, folder)
    save_coarse(CoarsePrior(random_mixture(3, 128)), folder)
    return folder


def core(images):
    return crop(fft2c(torch.from_numpy(images)), 8)


def test_the_coarse_block_is_drawn_from_its_own_prior(sample, with_coarse):
    """And the finer scales go on from there: they are not those without it."""
    prior, _ = load_coarse(with_coarse)
    images = sample(200, checkpoint=with_coarse, batch=50)
    mean, variance = prior.known().moments()
    drawn = core(images)
    assert ((drawn.mean(0) - mean).abs() < 5 * (2 * variance / 200).sqrt()).all()
    torch.testing.assert_close((drawn - mean).abs().square().mean() / 2, variance.mean(), rtol=0.1, atol=0)
    outer = ~block_mask(8, 32)
    kspace, without = (fft2c(torch.from_numpy(each)) for each in (images[:5], sample(5)))
    assert relative(kspace[:, outer], without[:, outer]) > 0.1
    assert relative(sample(3, checkpoint=with_coarse, batch=1), images[:3]) < 1e-4


def test_temperature_scales_the_coarse_block(sample, with_coarse):
    mean = core(sample(1, checkpoint=with_coarse, temperature=0))
    torch.testing.assert_close(
        mean[0], load_coarse(with_coarse)[0].known().moments()[0], rtol=1e-4, atol=1e-4
    )
    full, half = (core(sample(3, checkpoint=with_coarse, temperature=t)) - mean for t in (1.0, 0.5))
    torch.testing.assert_close(half, full / 2, rtol=1e-3, atol=1e-3)


def test_the_record_names_the_coarse_prior(checkpoint, with_coarse, tmp_path):
    for folder, expected in ((checkpoint, None), (with_coarse, load_coarse(with_coarse)[1])):
        loaded = LoadedModel.load(str(folder), CPU)
        with h5py.File(sample_to_folder(loaded, tmp_path / "out", 1, temperature=1.0, seed=0)[-1]) as file:
            assert file.attrs.get("coarse_sha256") == expected
