import math

import pytest
import torch

from examples.cifar10.half_spectrum import HalfSpectrum
from mri_iahvae.kspace.fft import fft2c

SIZES = [1, 2, 4, 8, 16]


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_it_is_orthonormal(size):
    half = HalfSpectrum(size)
    basis = torch.eye(size**2, dtype=torch.float64).unflatten(1, (size, size))
    matrix = half.analysis(basis).flatten(1)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(size**2, dtype=torch.float64))
    torch.testing.assert_close(half.synthesis(basis).flatten(1), matrix.mT)  # adjoint


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_of_images_of_several_channels(size):
    half, x = HalfSpectrum(size), images(2, 3, size, size)
    found = half.analysis(x)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    torch.testing.assert_close(half.synthesis(found), x)
    torch.testing.assert_close(half.spectrum(found), fft2c(x))


def test_coordinates_are_those_of_rfft2():
    """Each bin of the half plane of `torch.fft.rfft2`, by its frequency."""
    half, x = HalfSpectrum(8), images(8, 8)
    found, bins = half.analysis(x), torch.fft.rfft2(torch.fft.ifftshift(x), norm="ortho")
    for ky in range(-4, 4):
        for kx in range(5):
            value = bins[ky, kx]
            if ky in (0, -4) and kx in (0, 4):
                assert float(found[4 + ky, (4 + kx) % 8]) == pytest.approx(float(value.real))
            elif kx in (0, 4) and ky <= 0:
                continue  # the conjugate of a bin of the same column
            else:
                pair = found[4 + ky, 4 + kx if kx < 4 else 0], found[(4 - ky) % 8, 4 - kx]
                expected = math.sqrt(2) * value
                assert [float(v) for v in pair] == pytest.approx([float(expected.real), float(expected.imag)])


def test_white_noise_stays_white():
    x = torch.randn(20000, 8, 8, generator=torch.Generator().manual_seed(0))
    found = HalfSpectrum(8).analysis(x).flatten(1)
    covariance = found.mT @ found / len(found)
    assert (covariance - torch.eye(64)).abs().max() < 6 / math.sqrt(len(found))


@pytest.mark.parametrize("size", SIZES)
def test_rings_partition_the_grid_and_keep_pairs_together(size):
    half = HalfSpectrum(size)
    rings = torch.stack([half.ring(k) for k in range(len(half.sides))])
    assert bool((rings.sum(0) == 1).all())
    assert torch.equal(half.known(rings), rings)  # closed under k -> -k
    counts = rings.flatten(1).sum(1).tolist()
    inner = [1, *((s + 1) ** 2 for s in half.sides[1:-1]), size**2][: len(half.sides)]
    assert counts == [a - b for a, b in zip(inner, [0, *inner], strict=False)]
    dc = torch.zeros(size, size, dtype=torch.bool)
    dc[size // 2, size // 2] = True
    assert torch.equal(rings[0], dc)
    assert bool(rings[-1][0].all())  # row of the Nyquist frequency; of one bin, DC itself
    assert bool(rings[-1][:, 0].all())


def test_scales_of_waves():
    """A cosine of frequency f belongs to the scale s with s/4 < f <= s/2."""
    half, n = HalfSpectrum(16), torch.arange(16, dtype=torch.float64)
    for frequency, side in ((0, 1), (1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (8, 16)):
        wave = torch.cos(2 * math.pi * frequency * n / 16).expand(16, 16)
        energy = half.analysis(wave).square()
        here = energy[half.ring(half.sides.index(side))].sum()
        torch.testing.assert_close(here, energy.sum())


def test_a_mask_does_not_couple_coordinates():
    """What is measured determines `known` coordinates and no others, by the rank of the measurement."""
    half = HalfSpectrum(4)
    mask = torch.rand(4, 4, generator=torch.Generator().manual_seed(1)) < 0.4
    basis = torch.eye(16, dtype=torch.float64).unflatten(1, (4, 4))
    measured = torch.view_as_real(half.spectrum(basis) * mask).flatten(1)
    gram = measured @ measured.mT
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()))
    assert torch.equal(gram.diagonal() > 1e-12, half.known(mask).flatten())


def test_the_side_is_a_power_of_two():
    with pytest.raises(ValueError, match="power of two"):
        HalfSpectrum(6)
