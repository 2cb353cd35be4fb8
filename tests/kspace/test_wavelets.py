import math
import sys

import pytest
import pywt
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.orthogonal import Rotations
from mri_iahvae.kspace.wavelets import Wavelets
from tests.decompositions import check_decomposition


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4", "coif1"])
def test_it_is_a_decomposition(wavelet):
    check_decomposition(Wavelets(16, wavelet))


def test_scales_are_those_of_pywavelets():
    """Details of each step of its pyramid have the energy of a scale."""
    image = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wavelets = Wavelets(16, "db2")
    coefficients = wavelets.analysis(image[None] + 0j, 4)
    energies = [
        (wavelets.block(coefficients, k) * wavelets.ring(k)).abs().square().sum() for k in range(1, 5)
    ]
    average, expected = image.numpy(), []
    for _ in range(4):
        average, details = pywt.dwt2(average, "db2", mode="periodization")
        expected.insert(0, sum((part**2).sum() for part in details))
    torch.testing.assert_close(torch.stack(energies), torch.tensor(expected))


def test_an_image_of_a_block_is_pywavelets_approximation():
    image = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wavelets = Wavelets(16, "sym4")
    small = wavelets.image(wavelets.block(wavelets.analysis(image[None] + 0j, 4), 2), 2)
    average = image.numpy()
    for _ in range(2):
        average, _ = pywt.dwt2(average, "sym4", mode="periodization")
    torch.testing.assert_close(small[0].real, torch.from_numpy(average) / 4)


def test_haar_is_what_rotations_start_from():
    """Up to the sign of the details."""
    image = torch.randn(1, 8, 8, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    a, b = (one.analysis(image, 3) for one in (Wavelets(8, "haar"), Rotations(8)))
    torch.testing.assert_close(a.abs(), b.abs())


def test_a_constant_and_a_ramp_have_no_details():
    """A wavelet of two vanishing moments: but where the ramp jumps back."""
    wavelets = Wavelets(32, "db2")
    x = torch.arange(32).to(torch.complex128).expand(1, 32, 32)
    details = wavelets.analysis(torch.ones_like(x), 5) * wavelets.ring(5)
    assert details.abs().max() < 1e-10
    details = wavelets.analysis(x, 5) * wavelets.ring(5)
    assert int((details.abs() > 1e-8).any(dim=1).sum()) in (1, 2)  # columns of coefficients, of 16


@pytest.mark.parametrize("wavelet", ["bior2.2", "no such", "morl"])
def test_others_are_refused(wavelet):
    with pytest.raises(UsageError, match=r"expected an orthonormal one of PyWavelets, such as haar"):
        Wavelets(8, wavelet)


def test_without_pywavelets(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(UsageError, match=r"pip install 'mri-iahvae\[wavelets\]'"):
        Wavelets(8)


def test_filters_are_smooth_enough_to_keep_images_in_place():
    """A bump keeps its place at every resolution, within half a pixel of it."""
    wavelets, n = Wavelets(64), torch.arange(64, dtype=torch.float64)
    bump = torch.exp(-((n - 30.5) ** 2) / (2 * 6.0**2))
    coefficients = wavelets.analysis((bump[:, None] * bump)[None] + 0j, 6)
    for index, side in ((4, 16), (5, 32)):
        small = wavelets.image(wavelets.block(coefficients, index), index)[0].real.sum(1)
        centre = float((small * torch.arange(side)).sum() / small.sum())
        assert math.isclose(centre, (30.5 + 0.5) * side / 64 - 0.5, abs_tol=0.75)
