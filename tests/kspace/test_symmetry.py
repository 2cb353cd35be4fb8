import cmath

import pytest
import torch

from mri_iahvae.inference.settings import MOST_SYMMETRIES
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.symmetry import SYMMETRIES


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("size", [(8, 6), (9, 8), (7, 5)])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_an_image_is_flipped_about_its_centre_and_turned(symmetry, size, noise):
    kspace = complex_noise((2, *size), 1.0, noise)
    image, expected = ifft2c(symmetry.apply(kspace)), ifft2c(kspace)
    for axis in symmetry.axes:
        n = size[axis]
        places = (2 * (n // 2) - torch.arange(n)) % n  # what lies at c + x goes to c - x
        expected = expected.index_select(axis, places)
    torch.testing.assert_close(image, expected * cmath.exp(1j * symmetry.angle))
    torch.testing.assert_close(symmetry.undo(symmetry.apply(kspace)), kspace)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_mask_goes_with_its_measurement(symmetry, noise):
    mask = torch.rand(1, 8, 7, generator=noise) < 0.5
    image = complex_noise((1, 8, 7), 1.0, noise)
    measured = torch.where(mask, fft2c(image), 0)
    copy = symmetry.apply(measured)
    assert torch.equal(copy != 0, symmetry.flip(mask))


def test_the_first_is_the_measurement_itself_and_all_differ(noise):
    kspace = complex_noise((4, 6), 1.0, noise)
    assert torch.equal(SYMMETRIES[0].apply(kspace), kspace)
    copies = [one.apply(kspace) for one in SYMMETRIES]
    assert len(copies) == MOST_SYMMETRIES
    assert all(not torch.allclose(a, b) for i, a in enumerate(copies) for b in copies[:i])
