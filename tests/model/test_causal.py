"""The scale-causal encoder: features of scale s depend on block B_s alone."""

import torch

from mri_iahvae.kspace.bands import block_mask, crop, scales


def encode(model, kspace):
    """Features of all scales."""
    session, found = model.encoder.begin(kspace, kspace != 0), []
    for scale in model.scales:
        block = crop(kspace, scale.side)
        found.append(session.features(scale, block))
        session.extend(scale, block)
    return found


def test_features_depend_on_their_block_alone(model, kspace, noise):
    before = encode(model, kspace)
    for index, s in enumerate(scales(model.size)[:-1]):
        outside = ~block_mask(s, model.size)
        after = encode(model, kspace + outside * torch.randn(kspace.shape, generator=noise))
        for k, (a, b) in enumerate(zip(before, after, strict=True)):
            assert torch.equal(a, b) == (k <= index), (s, k)


def test_features_see_every_bin_of_their_block(model, kspace):
    for scale in model.scales:
        whole = kspace.clone().requires_grad_()
        features = encode(model, whole)[scale.index]
        resolution = model.config.scales[scale.index].resolution(scale.index)
        assert features.shape == (2, model.config.scales[scale.index].channels, resolution, resolution)
        (gradient,) = torch.autograd.grad((features * features.detach().cos()).sum(), whole)
        assert torch.equal(gradient.abs() > 0, block_mask(scale.side, model.size).expand_as(gradient))


def test_a_scale_may_be_asked_for_again_skipped_or_settled_otherwise(model, kspace):
    """Finer features build on what the coarser scales turned out to be, whether these were asked for or not."""
    expected, session = encode(model, kspace), model.encoder.begin(kspace, kspace != 0)
    for scale in model.scales:
        block = crop(kspace, scale.side)
        if scale.index % 2:
            session.features(scale, 0.5 * block)
            torch.testing.assert_close(session.features(scale, block), expected[scale.index])
            assert not torch.allclose(session.features(scale, 2 * block), expected[scale.index])
        session.extend(scale, block)
