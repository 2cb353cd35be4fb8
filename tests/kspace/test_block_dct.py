import numpy as np
import pytest
import torch
from scipy.fft import dct, dctn

from mri_iahvae.kspace.block_dct import BlockDCT
from tests.decompositions import check_decomposition


@pytest.mark.parametrize(("size", "block"), [(16, 8), (16, 4), (32, 8), (8, 8), (8, 16), (8, 1)])
def test_it_is_a_decomposition(size, block):
    check_decomposition(BlockDCT(size, block))


def test_scales_against_scipy():
    """The energy of a scale: frequencies of each block of 4 x 4 pixels, then those of the means of the blocks."""
    image = np.random.default_rng(0).normal(size=(16, 16))
    bands = BlockDCT(16, 4)
    found = bands.analysis(torch.from_numpy(image)[None] + 0j, 4)
    blocks = image.reshape(4, 4, 4, 4).swapaxes(1, 2)  # row and column of the block, then of the pixel
    within = dctn(blocks, axes=(2, 3), norm="ortho")
    means = dctn(within[:, :, 0, 0], norm="ortho")
    for index, whole in enumerate((means[:1, :1], means[:2, :2], means, within[:, :, :2, :2], within)):
        energy = (bands.block(found, index)).abs().square().sum()
        np.testing.assert_allclose(float(energy), (whole**2).sum())


def test_a_small_image_is_that_of_the_low_frequencies_of_each_block():
    row = np.random.default_rng(0).normal(size=16)
    bands = BlockDCT(16, 4)
    image = torch.from_numpy(np.outer(row, np.ones(16)))[None] + 0j
    small = bands.image(bands.block(bands.analysis(image, 4), 3), 3)[0, :, 0].real
    low = dct(row.reshape(4, 4), norm="ortho")[:, :2]
    expected = dct(low, type=3, norm="ortho").flatten() / np.sqrt(2)
    np.testing.assert_allclose(small.numpy(), expected)


def test_a_block_as_large_as_the_grid_is_the_dct():
    image = np.random.default_rng(0).normal(size=(8, 8))
    found = BlockDCT(8, 8).analysis(torch.from_numpy(image)[None] + 0j, 3).abs().flatten().numpy()
    expected = np.abs(dctn(image, norm="ortho")).flatten()
    np.testing.assert_allclose(np.sort(found), np.sort(expected))


def test_sides_are_powers_of_two():
    with pytest.raises(ValueError, match="power of two"):
        BlockDCT(16, 6)
