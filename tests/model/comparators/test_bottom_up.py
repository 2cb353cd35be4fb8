"""The bottom-up encoder sees every bin at every scale, and nothing that is inferred on the way."""

import pytest
import torch
import torch.nn.functional as F

from mri_iahvae.kspace.bands import crop, embed, split
from mri_iahvae.kspace.fft import ifft2c, to_complex


@pytest.fixture
def model(variant):
    return variant(encoder="bottom-up")


def test_every_scale_depends_on_every_bin_and_on_nothing_found_later(model, kspace, noise):
    kspace = kspace.clone().requires_grad_()
    session = model.encoder.begin(kspace, kspace != 0)
    for scale in model.scales:
        features = session.features(scale, crop(kspace, scale.side))
        channels = model.config.scales[scale.index].channels
        assert features.shape == (2, channels, scale.resolution, scale.resolution)
        total = (features * features.detach().cos()).sum()
        (gradient,) = torch.autograd.grad(total, kspace, retain_graph=True)
        assert (gradient.abs() > 0).all()
        other = torch.randn(2, scale.side, scale.side, generator=noise)
        session.extend(scale, other)
        assert torch.equal(session.features(scale, other), features)


def test_it_sees_the_image_and_every_band_at_unit_power(model, kspace):
    seen = []
    model.encoder[-1].embed.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.encoder.begin(kspace, kspace != 0)
    image, white = F.pixel_shuffle(seen[0], 2).split(2, dim=1)
    torch.testing.assert_close(to_complex(image), ifft2c(kspace))
    bands = [embed(band, 16) / gain for band, gain in zip(split(kspace), model.gains, strict=True)]
    torch.testing.assert_close(to_complex(white), ifft2c(torch.stack(bands).sum(0)))
