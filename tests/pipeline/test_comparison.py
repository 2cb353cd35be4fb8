"""A comparison: every rival gets the same measurement, in units of its own, and the same last step as the result."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.rivals.registry import RIVALS, Rival
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.pipeline.comparison import Comparison
from mri_iahvae.scans.scan import Scan

SIGMA = np.array([0.1, 0.1])


@pytest.fixture
def calls(monkeypatch):
    """What the rival "toy", whose image is one everywhere, was called with."""
    calls = []

    def run(kspace, mask, sensitivities, weight):
        calls.append((kspace, mask, sensitivities, weight))
        return np.ones(mask.shape, np.complex64)

    monkeypatch.setitem(RIVALS, "toy", Rival("toy", run, (0.5, 0.25)))
    return calls


def magnitude(bins):
    return ifft2c(torch.from_numpy(bins)).abs().numpy()


def test_measured_bins_are_put_back_and_padding_stays_zero(calls, kspace, rng):
    mask = rng.random(kspace.shape[1:]) < 0.5
    mask[:, :2] = True  # padding, as some files have it
    acquired = (2, kspace.shape[-1])
    unit = np.sqrt(np.mean(np.abs(np.where(mask, kspace, 0)[:, :, 2:]) ** 2, axis=(1, 2)) * 15 / 17)
    padding = np.arange(17) < 2
    for hard in (True, False):
        compared = Comparison({"zero-filled": None, "toy": 0.5}, hard=hard, acquired=acquired)
        found = compared.magnitudes(kspace[:, None], mask, 0.2 * unit)
        assert list(found) == ["toy"]
        ones = fft2c(torch.ones(20, 17, dtype=torch.complex64)).numpy() * unit[:, None, None]
        bins = np.where(mask, kspace, ones) if hard else ones
        expected = magnitude(np.where(padding, 0, bins).astype(np.complex64))
        np.testing.assert_allclose(found["toy"], expected, atol=1e-5 * expected.max())
    seen, known, maps, weight = calls[0]
    assert np.sqrt(np.mean(np.abs(seen) ** 2)) == pytest.approx(1)
    np.testing.assert_array_equal(known, mask | padding)
    assert maps is None
    assert weight == pytest.approx(0.5 * 0.2)


def test_units_cancel(calls, kspace):
    mask = np.arange(17) % 2 == 0
    one = Comparison({"toy": 0.5}).magnitudes(kspace[:, None], np.tile(mask, (20, 1)), np.full(3, 1e-6))
    louder = Comparison({"toy": 0.5}).magnitudes(
        1e9 * kspace[:, None], np.tile(mask, (20, 1)), np.full(3, 1e3)
    )
    np.testing.assert_allclose(louder["toy"], 1e9 * one["toy"], rtol=1e-4)
    assert calls[0][3] == pytest.approx(calls[3][3])


def test_an_empty_slice_stays_empty_and_no_noise_is_a_little(calls, kspace):
    full = np.ones((3, 20, 17), bool)
    found = Comparison({"toy": 0.5}).magnitudes(np.stack([0 * kspace[:1], kspace[1:2]]), full[:2], 0 * SIGMA)
    assert not found["toy"][0].any()
    assert [call[3] for call in calls] == [pytest.approx(0.5e-3)]


@pytest.mark.parametrize("combine", ["rss", "sensitivity"])
def test_the_image_of_several_coils_is_seen_through_their_maps(monkeypatch, head_kspace, coil_maps, combine):
    """A rival that knows the image gives the image, whatever the combination."""
    image = ifft2c(torch.from_numpy(head_kspace(1, 32)))[0].numpy()
    kspace = fft2c(torch.from_numpy(coil_maps(4, 32, 32) * image)).numpy()
    mask = np.tile((np.arange(32) % 2 == 0) | (abs(np.arange(32) - 16) < 6), (32, 1))

    def run(seen, _, maps, weight):
        assert np.allclose(np.linalg.norm(maps, axis=0)[np.abs(image) > 0.1], 1, atol=1e-3)
        assert weight == pytest.approx(0.25 * 1e-3)
        unit = np.linalg.norm(np.where(mask, kspace, 0)) / np.sqrt(kspace.size)
        return (maps.conj() * coil_maps(4, 32, 32) * image / unit).sum(axis=0)

    monkeypatch.setitem(RIVALS, "toy", Rival("toy", run, (0.5, 0.25)))
    compared = Comparison({"toy": 0.25}, combine=combine)
    found = compared.magnitudes(kspace[None], mask, np.zeros(1))["toy"][0]
    assert np.linalg.norm(found - np.abs(image)) < 0.05 * np.linalg.norm(image)


def test_weights_are_those_asked_for_else_the_defaults(calls):
    def scan(coils):
        return Scan(Path("a.h5"), 1, coils, 8, 8, np.ones((8, 8), bool), "full", None, (0, 8))

    asked = {"toy": None, "zero-filled": None, "sense": 2.0}
    how = {"combine": "rss", "hard": True}
    assert Comparison.of(asked, scan(4), **how).multiples == {"toy": 0.25, "zero-filled": None, "sense": 2.0}
    assert Comparison.of({"toy": 3.0}, scan(1), **how).multiples == {"toy": 3.0}
    stated = Comparison.of(asked, scan(4), **how).stated(2e-6, "file")
    assert Comparison({"zero-filled": None}).magnitudes(None, None, None) == {}  # nothing is computed
    assert stated == "toy (weight 0.25 sigma), SENSE (weight 2 sigma^2), sigma 2e-06 (file)"
    assert Comparison.of({"zero-filled": None}, scan(1), **how).stated(0.0, "estimate") is None
    with pytest.raises(UsageError, match=r"--compare sense: a\.h5 holds a single coil, expected several"):
        Comparison.of(asked, scan(1), **how)
