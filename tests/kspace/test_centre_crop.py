import numpy as np
import pytest
import torch
from fastmri.data.transforms import center_crop

from mri_iahvae.kspace import bands
from mri_iahvae.kspace.centre_crop import centre_block, crop_image, recentre


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("m", [1, 2, 5, 8, 9])
def test_blocks_and_grids_are_those_of_the_tensors(n, m, rng):
    bins = range(n)[centre_block(n, m)]
    assert len(bins) == min(m, n)
    assert bins[len(bins) // 2] == n // 2
    values = rng.normal(size=(2, n, 6)).astype(np.complex64)
    found = recentre(values, m, 5)
    assert found.dtype == np.complex64
    np.testing.assert_array_equal(found, bands.recentre(torch.from_numpy(values), m, 5).numpy())


@pytest.mark.parametrize("size", [(8, 9), (7, 4), (1, 1)])
def test_images_are_cropped_as_fastmri_does(size, rng):
    images = rng.normal(size=(2, 8, 9))
    np.testing.assert_array_equal(crop_image(images, *size), center_crop(images, size))
