import pytest
import torch

from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.kspace.fft import fft2c, ifft2c, to_complex
from mri_iahvae.model.gains import gain_map
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.super_resolution import SuperResolution
from tests.model.conftest import SUPER_RESOLUTION


@pytest.fixture
def coarse(super_resolving, noise):
    """The bins of B_8, complex64 (2, 8, 8)."""
    parts = torch.randn(2, 8, 8, 2, generator=noise)
    return torch.view_as_complex(parts) * crop(super_resolving.power.sqrt(), 8)


@torch.no_grad()
def test_an_edge_is_continued_wherever_it_is(noise):
    """Layers on folded pixels do not learn that: it is why there is a branch."""
    torch.manual_seed(0)
    branch = SuperResolution(5)
    torch.nn.init.normal_(branch.image.weight)  # it starts at zero
    images = [torch.view_as_complex(torch.randn(1, 64, 72, 2, generator=noise)) for _ in range(2)]
    shifted = [torch.roll(image, (3, -1), dims=(1, 2)) for image in images]
    inside = (slice(None), slice(None), slice(34, -34), slice(34, -34))
    expected = torch.roll(branch(*images), (6, -2), dims=(2, 3))[inside]  # of pixels half as large
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(branch(*shifted)[inside], expected)


@torch.no_grad()
def test_it_reaches_the_bins_of_a_fresh_model_as_it_is(coarse):
    """In units of the band's gain: layers and head add nothing yet."""
    torch.manual_seed(0)
    model = IAHVAE(SUPER_RESOLUTION)
    scale = model.scales[4]
    torch.nn.init.normal_(scale.super_resolution.image.weight)
    h = torch.randn(2, SUPER_RESOLUTION.scales[3].width, 8, 8)
    bins = scale.bins(scale.run(scale.context(h, coarse)))
    image, white = ifft2c(coarse) * (8 / 16), ifft2c(coarse / crop(gain_map(model.gains), 8))
    predicted = fft2c(to_complex(scale.super_resolution(image, white))) * model.gains[4] / 2**0.5
    torch.testing.assert_close(bins, predicted * band_mask(16))
