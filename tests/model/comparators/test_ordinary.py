"""What makes the comparator an ordinary HVAE: every latent acts on every bin, through one head."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, scales, split
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.training.objective import complete
from tests.model.conftest import Fixed

NOTHING = torch.zeros(2, 0, 0, dtype=torch.complex64)


@pytest.fixture
def model(variant):
    return variant(encoder="bottom-up", decoder="ordinary")


@pytest.fixture
def latents(model, noise):
    """Whitened latents of all layers, with gradients."""
    shapes = [latent.shape for latent in model.scales[0].latents]
    return [torch.randn(2, *shape, generator=noise).requires_grad_() for shape in shapes]


def test_one_scale_answers_for_every_bin_through_one_head(model, latents):
    (scale,) = model.scales
    assert bool(model.decomposition.ring(scale.index).all())
    assert [stage.head is not None for stage in model.decoder] == [False] * 4 + [True]
    assert not any("look" in name for name in model.state_dict())  # contexts do not see bins
    for band in split(scale.bins(scale.run(scale.context(None, NOTHING), latents))):
        gradients = torch.autograd.grad((band.real + 2 * band.imag).sum(), latents, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)


def test_its_layers_are_those_of_all_resolutions(model, latents):
    """Stage by stage of the model, and in two parts wherever they meet; numbered for draws as there."""
    (scale,), h = model.scales, None
    assert [(e.index, e.layer) for e in scale.latents] == [(k, j) for k in range(5) for j in range(2)]
    for index, stage in enumerate(model.decoder):
        h = stage.run(stage.context(h, NOTHING), latents[2 * index : 2 * index + 2])
    start = scale.context(None, NOTHING)
    torch.testing.assert_close(scale.run(start, latents), h)
    for cut in range(1, 10):
        torch.testing.assert_close(scale.run(scale.run(start, latents[:cut]), latents[cut:], cut), h)
    torch.testing.assert_close(scale.run(start), scale.run(start, [torch.zeros_like(e) for e in latents]))


def test_the_head_works_at_unit_scale(noise):
    """Channels of unit power become bins of each band's gain."""
    config = preset("tiny", encoder="bottom-up", decoder="ordinary")
    model = IAHVAE(replace(config, gains=(25.0, 20.0, 11.0, 3.0, 1.0, 0.2)))
    model.decoder[5].head.image = Fixed(torch.randn(400, 8, 16, 16, generator=noise))
    (scale,) = model.scales
    bins = scale.bins(torch.zeros(400, 16, 16, 16))
    for s, band, gain in zip(scales(32), split(bins), model.gains, strict=True):
        rms = band[:, band_mask(s)].abs().square().mean().sqrt()
        assert rms.item() == pytest.approx(float(gain), rel=0.12 / s + 0.01)
    assert scale.variance() == pytest.approx(float(bins.abs().square().mean()) / 2, rel=0.1)


def test_completion_keeps_the_known_bins_and_decodes_the_others(model, kspace):
    """Finer resolutions take their prior's mean given the encoder's posterior of the coarser ones."""
    found, known = complete(model, kspace, 4), block_mask(4, 16)
    assert torch.equal(crop(found, 4), crop(kspace, 4))
    (scale,), mask = model.scales, known.expand(2, 16, 16)
    session = model.encoder.begin(torch.where(mask, kspace, 0), mask)
    encoded = scale.encode(scale.context(None, NOTHING), session.features(scale, kspace))
    latents = [e if number < 6 else torch.zeros_like(e) for number, e in enumerate(encoded.latents)]
    decoded = scale.bins(scale.run(scale.context(None, NOTHING), latents))
    torch.testing.assert_close(found[:, ~known], decoded[:, ~known])
