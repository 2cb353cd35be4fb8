"""What makes the model an IA-HVAE: each scale's latents generate the coefficients of its own ring, and of no other."""

import pytest
import torch

from mri_iahvae.kspace.bands import band_mask, embed, join, split
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.walk import Walk

CPU = torch.device("cpu")


@pytest.fixture
def latents(model, noise):
    """Whitened latents, [scale][layer], with gradients."""
    return [
        [torch.randn(2, *latent.shape, generator=noise).requires_grad_() for latent in scale.latents]
        for scale in model.scales
    ]


def decode(model, latents, detach=False):
    """Coefficients of each scale, and of all; with `detach`, contexts are cut from the coarser scales."""
    walk, parts = Walk(model, 2, CPU), []
    for (scale, h), e in zip(walk, latents, strict=True):
        last = scale.run(h, e)
        parts.append(scale.bins(last))
        walk.extend(last.detach() if detach else last, parts[-1].detach() if detach else parts[-1])
    return parts, walk.coarse


def test_the_image_is_the_sum_of_the_images_of_all_scales(model, latents):
    """Equation 5 of the paper; each scale predicts all bins of its ring and no other."""
    parts, whole = decode(model, latents)
    for scale, part in zip(model.scales, parts, strict=True):
        ring = band_mask(scale.side)
        assert part.dtype == torch.complex64
        assert part.shape == (2, scale.side, scale.side)
        assert not part[:, ~ring].any()
        assert (part[:, ring] != 0).all()
    torch.testing.assert_close(join(parts), whole)
    images = torch.stack([ifft2c(embed(part, model.size)) for part in parts])
    torch.testing.assert_close(ifft2c(whole), images.sum(0), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(parts, split(whole), strict=True))


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_reach_a_scale_from_its_own_latents_and_coarser_ones_only(model, latents, noise, detach):
    parts, _ = decode(model, latents, detach)
    for index, part in enumerate(parts):
        target = (torch.randn(part.shape, generator=noise) * (part.real + 2 * part.imag)).sum()
        for other, layers in enumerate(latents):
            gradients = torch.autograd.grad(target, layers, retain_graph=True, allow_unused=True)
            if other > index or (detach and other < index):
                assert all(g is None or not g.any() for g in gradients), (index, other)
            else:
                assert all(g is not None and g.any() for g in gradients), (index, other)
