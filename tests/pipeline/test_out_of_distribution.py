"""A volume that lies outside is said to: once, for the volume, and only when enough slices do."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch import nan

from mri_iahvae.errors import IahvaeWarning
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.domain import Domain
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.out_of_distribution import (
    ASPECTS,
    LIMITS,
    aspect_scores,
    aspect_warnings,
    domain_warnings,
    volume_score,
)
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.tasks.reconstruct import denoise, reconstruct

SETTINGS = InferenceSettings("amortized")
WARNING = "unlike the training data (ellipses)"


@pytest.fixture
def domain(model, head_kspace):
    """Of the head-like slices that the tests reconstruct, with room for their noise."""
    found = Domain.measure(model, torch.from_numpy(head_kspace(8)), "ellipses")
    return replace(found, limit=tuple(2 * value for value in found.limit))


@pytest.fixture
def noise_kspace(rng):
    """White noise: no slice that any model knows."""
    parts = rng.normal(size=(2, 6, 32, 32))
    return fft2c(torch.from_numpy(parts[0] + 1j * parts[1])).numpy().astype(np.complex64)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ([0.2, -0.1, 0.9, 0.5], None),
        ([1.1, 0.1, 0.1, 0.1], None),  # a quarter is tolerated
        ([0.1, 1.3, 1.1, 0.1, 0.1, 0.1, 0.1, 0.1], "slice 1"),  # but not far outside
        ([1.1, 0.1, 1.2], "slices 0, 2"),
        ([nan, 1.1, nan, nan], None),  # one in a hundred
        ([nan, 1.3, nan, nan], "slice 1"),
        ([1.1] * 20 + [0.1] * 4, "20 of 24 slices"),
        ([nan, nan], None),
        ([], None),
    ],
)
def test_a_warning_wants_more_than_a_quarter_of_the_slices_or_one_far_outside(domain, fit, said):
    fit = np.array(fit, np.float32)
    warnings = domain_warnings(fit, domain)
    assert [re.split(" are | is ", warning)[0] for warning in warnings] == ([] if said is None else [said])
    assert all(WARNING in warning and "\n" not in warning for warning in warnings)
    assert domain_warnings(fit, None) == ()


def test_the_fit_of_a_volume_is_that_of_its_slices(model, domain, head_kspace):
    kspace = torch.from_numpy(head_kspace(5, size=40))
    mask, sigma = torch.ones(kspace.shape, dtype=torch.bool), torch.linspace(0, 1, 5)
    found = volume_score(model, domain, kspace, mask, sigma, Batches(2))
    centre = slice(4, 36)
    expected = domain.score(model, kspace[:, centre, centre], mask[:, centre, centre], sigma)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)
    assert np.isnan(volume_score(model, None, kspace, mask, sigma, Batches(2))).all()


@pytest.fixture
def judge(domain):
    """Scores of the aspects, by name, of k-space that is the measurement and the result."""

    def scores(kspace, mask=None, sigma=0.0, result=None, domain=domain):
        kspace = torch.as_tensor(kspace, dtype=torch.complex64)
        mask = torch.ones(kspace.shape, dtype=torch.bool) if mask is None else mask.expand(kspace.shape)
        level = torch.full((len(kspace),), sigma)
        measured = torch.where(mask, kspace, 0)
        found = aspect_scores(domain, measured, mask, level, kspace if result is None else result)
        return dict(zip(ASPECTS, found.T, strict=True))

    return scores


@pytest.mark.parametrize("unit", [1e-20, 1.0, 1e15])
def test_the_completed_part_of_the_energy_is_judged(judge, unit):
    mask = torch.from_numpy(block_mask(8, 32).numpy())
    for part in (0.0, 0.4, 0.6, 1 - 1e-9):
        amount = np.where(mask, np.sqrt((1 - part) / 64), np.sqrt(part / (32**2 - 64)))
        found = judge(unit * amount[None], mask)["completed"]
        np.testing.assert_allclose(found, part / LIMITS["completed"], rtol=1e-4, atol=1e-6)


def test_noise_is_compared_with_the_signal(judge, head_kspace, rng):
    heads = head_kspace(2)
    rms = np.sqrt(np.square(np.abs(heads)).mean(axis=(1, 2), keepdims=True))
    parts = rng.normal(size=(2, *heads.shape))
    for ratio, most in ((0.1, 1), (1.0, 1), (4.0, np.inf)):
        noisy = heads + ratio * rms * (parts[0] + 1j * parts[1])
        for number in range(2):
            (score,) = judge(noisy[number : number + 1], sigma=ratio * rms[number].item())["noise"]
            assert score <= most
            assert (score > 1) == (ratio > LIMITS["noise"])
        assert (judge(noisy)["noise"] <= most).all()  # estimated
    assert (judge(parts[0] + 1j * parts[1])["noise"] > 1).all()  # nothing but noise


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_a_rough_phase_is_distinguished_from_a_smooth_one(judge, head_kspace, rng, unit):
    heads = np.float32(unit) * head_kspace(3)
    images = ifft2c(torch.from_numpy(heads))
    angle = torch.from_numpy(rng.uniform(-np.pi, np.pi, images.shape))
    assert (judge(heads)["phase"] < 1).all()
    assert (judge(fft2c(images * torch.polar(torch.ones_like(angle), angle)))["phase"] > 3).all()
    missing = torch.ones(32, 32, dtype=torch.bool)
    missing[16, 16] = False
    assert np.isnan(judge(heads, missing)["phase"]).all()
    ramp = torch.arange(32) * (2 * np.pi / 32)
    assert (judge(fft2c(images * torch.polar(torch.ones_like(ramp), ramp)))["phase"] < 1).all()


def test_nothing_is_said_without_a_domain_or_a_signal(judge, head_kspace):
    heads = head_kspace(2)
    assert all(np.isnan(scores).all() for scores in judge(heads, domain=None).values())
    heads[1] = 0
    assert all(np.isnan(scores[1]) for scores in judge(heads).values())
    assert aspect_warnings(np.full((3, len(ASPECTS)), nan, np.float32)) == ()


def test_each_aspect_is_named_with_its_slices():
    scores = np.zeros((3, len(ASPECTS)), np.float32)
    scores[1, 0] = scores[0, 2] = scores[2, 2] = 1.5
    completed, phase = aspect_warnings(scores)
    assert completed.startswith("slice 1: most of the output's energy was completed")
    assert phase.startswith("slices 0, 2: the phase varies more")


@pytest.mark.parametrize("samples", [0, 3])
def test_the_fit_does_not_depend_on_how_a_slice_is_reconstructed(model, domain, head_kspace, samples):
    kspace, mask = head_kspace(3), block_mask(8, 32).numpy()
    amortized = reconstruct_volume(model, kspace, mask, SETTINGS, domain=domain)
    settings = InferenceSettings("iterative", steps=2, samples=samples, data_consistency="none")
    other = reconstruct_volume(model, kspace, mask, settings, domain=domain, batch=2)
    np.testing.assert_allclose(other.out_of_distribution, amortized.out_of_distribution, rtol=1e-3, atol=1e-3)


def test_what_a_checkpoint_knows_reaches_files_and_the_python_api(
    model, domain, make_scan, noise_kspace, tmp_path
):
    folder = tmp_path / "model"
    save_model(model, folder, {}, domain=domain)
    path = make_scan(slices=6)
    with h5py.File(path, "r+") as file:
        file["kspace"][...] = noise_kspace
        file["kspace"][2] = 0
    loaded = LoadedModel.load(folder, torch.device("cpu"))
    report = run_file(loaded, path, tmp_path / "out.h5", Request(up_to=8), SETTINGS)
    assert sum(WARNING in warning for warning in report["warnings"]) == 1
    empty = [number == 2 for number in range(6)]
    assert [value is None for value in report["out_of_distribution"]] == empty
    for aspect in ("completed", "noise", "phase"):
        assert [value is None for value in report["beyond_training"][aspect]] == empty
    with h5py.File(tmp_path / "out.h5") as file:
        stored = file.attrs["out_of_distribution"]
        phase = file.attrs["beyond_training phase"]
    np.testing.assert_array_equal(stored, np.array(report["out_of_distribution"], np.float32))
    np.testing.assert_array_equal(phase, np.array(report["beyond_training"]["phase"], np.float32))
    for task, options in ((reconstruct, {"up_to": "8x8"}), (denoise, {"noise_sigma": 1e-9})):
        with pytest.warns(IahvaeWarning):
            result = task(noise_kspace, checkpoint=folder, device="cpu", method="amortized", **options)
        assert (result.out_of_distribution > 1).all()
        assert any(WARNING in warning for warning in result.warnings)
