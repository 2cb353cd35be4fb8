"""`benchmarks.beyond.coils` and `coil_fraction`: noise is what it claims to be, lines are fitted, the commands run."""

import json

import numpy as np
import pytest

from benchmarks.beyond import coil_fraction, coils
from mri_iahvae.kspace.masks import DrawnMask
from tests.commands import run


def test_the_noise_is_correlated_and_of_mean_variance_one():
    mixing = coils.correlated()
    covariance = mixing @ mixing.conj().T
    levels = np.sqrt(np.diagonal(covariance).real)
    correlation = covariance / np.outer(levels, levels)
    np.testing.assert_allclose(np.diagonal(correlation, 1), 0.5, rtol=1e-5)
    assert np.mean(levels**2) == pytest.approx(1)
    assert levels[-1] / levels[0] == pytest.approx(4)


def test_coils_are_measured(make_scan, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("sigpy")
    folder = make_scan("data/a.h5", slices=1, reference=True, noise=0.002).parent
    monkeypatch.setattr(coils, "MASKS", (DrawnMask(2, 0.25, "random"),))
    monkeypatch.setattr(coils, "OTHER_NOISE", ())
    run(coils.main, folder, "--samples", 2, "--checkpoint", checkpoint, "--json", tmp_path / "out")
    found = json.loads((tmp_path / "out").read_text())
    (calibration,), (maps,) = found["calibration"].values(), found["own maps"].values()
    assert 0 <= calibration["within 1"] <= calibration["within 2"] <= calibration["within 3"] <= 1
    assert calibration["error / variance"] > 0
    assert maps["ESPIRiT"] == calibration["nmse"]
    (noise,) = found["whitening"].values()
    assert set(noise) == {"as it is", "prewhitened"}


def test_the_fraction_is_a_power_of_the_noise(make_scan, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("sigpy")
    folder = make_scan("data/a.h5", slices=1, reference=True, noise=0.002).parent
    monkeypatch.setattr(coil_fraction, "MASKS", (DrawnMask(2, 0.25, "random"),))
    levels = iter((1.0, 4.0, 16.0))
    monkeypatch.setattr(
        coil_fraction,
        "energies",
        lambda *_: [[level := next(levels), 0.5 * (level / 8) ** 0.25 + 0.1, 0.5, 0.1]],
    )
    run(coil_fraction.main, folder, "--checkpoint", checkpoint, "--json", tmp_path / "out")
    found = json.loads((tmp_path / "out").read_text())
    assert found["exponent"] == pytest.approx(0.25)
    assert found["noise variance of one"] == pytest.approx(8)
