"""Rivals of a reconstruction: each minimises what it says, and names and packages are checked."""

import sys

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.rivals.registry import RIVALS, require_rivals
from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.fft import fft2c


@pytest.fixture
def measured(rng, coil_maps):
    """K-space (3, 16, 16) of noise seen by three coils, the mask (16, 16) and the maps."""
    mask = np.broadcast_to(rng.random(16) < 0.6, (16, 16)).copy()
    image = rng.normal(size=(2, 1, 16, 16)).astype(np.float32)
    maps = coil_maps(3, 16, 16)
    operator = Sense(torch.from_numpy(maps)[None], torch.from_numpy(mask))
    return operator.forward(torch.from_numpy(image[0] + 1j * image[1])).numpy()[0], mask, maps


def residual(image, kspace, mask, maps):
    """|M F S x - y|^2."""
    operator = Sense(torch.from_numpy(maps)[None], torch.from_numpy(mask))
    return np.sum(np.abs(operator.forward(torch.from_numpy(image)[None])[0].numpy() - kspace) ** 2)


def variation(image):
    """Sum of the magnitudes of all differences to the next row and column, around the edge."""
    return sum(np.abs(image - np.roll(image, 1, axis)).sum() for axis in (0, 1))


def test_sense_solves_the_normal_equations(measured):
    kspace, mask, maps = measured
    found = RIVALS["sense"].run(kspace, mask, maps, 0.1)
    operator = Sense(torch.from_numpy(maps)[None], torch.from_numpy(mask))
    units = torch.eye(256, dtype=torch.complex64).reshape(256, 16, 16)
    matrix = torch.stack([operator.normal(unit[None])[0].flatten() for unit in units], dim=1)
    target = operator.adjoint(torch.from_numpy(kspace)[None]).flatten()
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(256), target)
    np.testing.assert_allclose(found.flatten(), expected, atol=1e-4)


@pytest.mark.parametrize("coils", [1, 3])
def test_total_variation_is_at_a_minimum(measured, rng, coils):
    pytest.importorskip("sigpy")
    kspace, mask, maps = measured
    ones = np.ones_like(kspace[:1])
    given = (kspace, mask, maps) if coils > 1 else (kspace[:1], mask, None)
    weight, seen = 0.05, (kspace, mask, maps) if coils > 1 else (kspace[:1], mask, ones)

    def objective(image):
        return residual(image.astype(np.complex64), *seen) / 2 + weight * variation(image)

    found = RIVALS["tv"].run(*given, weight)
    assert objective(found) < objective(0 * found)
    for _ in range(10):
        step = rng.normal(size=(2, 16, 16))
        assert objective(found) < objective(found + 0.02 * (step[0] + 1j * step[1]))
        assert objective(found) < objective(found * (1 + 0.02 * rng.choice([-1, 1])))


def test_wavelets_shrink_by_the_weight_at_most(rng):
    """Where all is measured each coefficient loses the weight, or all that it has."""
    sigpy = pytest.importorskip("sigpy")
    image = rng.normal(size=(2, 16, 16)).astype(np.float32)
    image = image[0] + 1j * image[1]
    kspace, mask = fft2c(torch.from_numpy(image)).numpy()[None], np.ones((16, 16), bool)
    coefficients = np.prod(sigpy.wavelet.get_wavelet_shape((16, 16), "db4")[0])
    lost = []
    for weight in (1e-6, 0.1, 1.0):
        found = RIVALS["wavelet"].run(kspace, mask, None, weight)
        lost.append(np.linalg.norm(found - image))
        assert lost[-1] <= weight * np.sqrt(coefficients) + 1e-4
    assert lost[0] < 1e-3 < lost[1] < lost[2]
    np.testing.assert_allclose(RIVALS["wavelet"].run(kspace, mask, None, 1e3), 0, atol=1e-6)


def test_weights_go_with_the_noise_and_of_sense_with_its_square():
    for name, factor in (("tv", 2), ("wavelet", 2), ("sense", 4)):
        rival = RIVALS[name]
        assert rival.weight(0.5, 0.2) == pytest.approx(factor * rival.weight(0.5, 0.1))
    assert RIVALS["sense"].stated(0.8) == "SENSE (weight 0.8 sigma^2)"
    assert RIVALS["sense"].multiple(1) is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"bm3d": None}, "--compare bm3d: expected names among zero-filled, tv, wavelet, sense"),
        ({"zero-filled": 0.5}, "--compare zero-filled=0.5: zero-filled has no weight"),
    ],
)
def test_what_cannot_be_compared_is_refused(asked, words):
    with pytest.raises(UsageError, match=words):
        require_rivals(asked)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy", None)
    with pytest.raises(UsageError, match=r"--compare tv needs sigpy: pip install 'mri-iahvae\[compare\]'"):
        require_rivals({"zero-filled": None, "tv": None})
    require_rivals({"zero-filled": None, "sense": None})
