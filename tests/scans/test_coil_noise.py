"""A coil with far more noise than the others is named."""

import numpy as np
import pytest

from mri_iahvae.scans.coil_noise import coil_noise

CASES = {"full": np.ones(96, bool), "columns": (np.arange(96) % 4 == 0) | (np.abs(np.arange(96) - 48) < 8)}


@pytest.fixture
def coils(head_kspace, rng):
    """k-space of coils of different strength, with noise."""

    def make(noise):
        kspace = head_kspace(1, 96) * np.linspace(1, 3, len(noise))[:, None, None]
        white = rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape)
        rms = np.sqrt(np.square(np.abs(kspace)).mean())
        return (kspace + rms * np.array(noise)[:, None, None] * white).astype(np.complex64)

    return make


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_coil_with_five_times_the_noise_is_named(coils, mask, unit):
    kspace = np.where(mask, coils([0.05, 0.05, 0.25, 0.05]), 0) * np.float32(unit)
    text = coil_noise(kspace, np.broadcast_to(mask, (96, 96)))
    assert text.startswith("coil 2 has ")
    assert float(text.split()[3]) == pytest.approx(5, rel=0.2)


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    "noise", [[0.05, 0.1, 0.05, 0.05], [0] * 4, [0.05], [0.05, 0.1], [0.001] * 8, [5] * 4]
)
def test_of_coils_about_alike_none_is(coils, mask, noise):
    assert coil_noise(np.where(mask, coils(noise), 0), np.broadcast_to(mask, (96, 96))) == ""


def test_dead_coils_are_no_measure(coils):
    kspace = coils([0.05] * 5)
    kspace[:3] = 0
    assert coil_noise(kspace, np.ones((96, 96), bool)) == ""
