import math

import pytest
import torch

from mri_iahvae.kspace.bands import join, split
from mri_iahvae.kspace.decomposition import FourierBands, SingleScale
from mri_iahvae.kspace.fft import fft2c, ifft2c
from tests.decompositions import check_decomposition


@pytest.mark.parametrize(
    "decomposition", [FourierBands(1), FourierBands(4), FourierBands(32), SingleScale(6)]
)
def test_every_coefficient_belongs_to_one_scale_and_energy_is_kept(decomposition):
    check_decomposition(decomposition)


def test_fourier_bands_are_those_of_kspace():
    bands, kspace = FourierBands(16), torch.randn(2, 16, 16, dtype=torch.complex64)
    coarse = kspace[:, :0, :0]
    for index, (side, band) in enumerate(zip(bands.sides, split(kspace), strict=True)):
        assert torch.equal(bands.block(kspace, index) * bands.ring(index), band)
        coarse = bands.extend(coarse, band, index)
        assert torch.equal(coarse, join(split(kspace)[: index + 1]))
        if index < 4:  # the same coefficients seen at the resolution of a finer scale
            finer = bands.extend(coarse, torch.zeros(2, 2 * side, 2 * side), index + 1)
            torch.testing.assert_close(bands.image(coarse, index + 1), bands.image(finer, index + 1))
    assert bands.separates(kspace != 0)


@pytest.mark.parametrize("index", range(5))
def test_the_image_of_a_block_samples_that_of_all_bins_exactly(index):
    """A trigonometric polynomial on the frequencies of B_s, evaluated at N x N and at s x s points."""
    bands, s = FourierBands(16), 2**index
    coefficients = torch.randn(s, s, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))

    def sample(n):
        points = (torch.arange(n) - n // 2).double() / n
        frequencies = (torch.arange(s) - s // 2).double()
        waves = torch.polar(torch.ones(n, s).double(), 2 * math.pi * points[:, None] * frequencies[None])
        return waves @ coefficients @ waves.T

    block = bands.block(fft2c(sample(16)), index)
    torch.testing.assert_close(bands.image(block, index), sample(s))


def test_an_ordinary_hvae_has_one_scale_whatever_its_number():
    single, kspace = SingleScale(6), torch.randn(2, 6, 6, dtype=torch.complex64)
    for index in (0, 3):
        assert single.ring(index).all()
        assert torch.equal(single.block(kspace, index), kspace)
        assert torch.equal(single.extend(kspace[:, :0, :0], kspace, index), kspace)
        torch.testing.assert_close(single.image(kspace, index), ifft2c(kspace))
    assert single.separates(kspace != 0)
