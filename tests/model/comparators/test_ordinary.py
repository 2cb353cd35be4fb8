"""What makes the comparator an ordinary HVAE: every latent acts on every bin, through one head."""

import pytest
import torch
from mri_iahvae.model.ordinary import WholeLadder

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, scales, split
from mri_iahvae.model.iahvae import IAHVAE, complete
from mri_iahvae.model.presets import preset


@pytest.fixture
def model(variant):
    return variant(encoder="bottom-up", decoder="ordinary")


@pytest.fixture
def latents(model, noise):
    """Whitened latents of all layers, with gradients."""
    return [
        torch.randn(2, *model.latent_shape(index), generator=noise).requires_grad_()
        for index in range(5)
        for _ in range(2)
    ]


def test_the_finest_scale_answers_for_every_bin_and_no_other_for_any(model, variant):
    for kind in (model, variant()):
        count = sum(embed(kind.ring(index).int(), 16) for index in range(5))
        assert torch.equal(count, torch.ones_like(count))
    assert [int(model.ring(index).sum()) for index in range(5)] == [0, 0, 0, 0, 256]
    assert [index for index in range(5) if model.stage(index).head is not None] == [4]
    assert not any("look" in name for name in model.state_dict())


def test_every_latent_acts_on_every_band(model, latents):
    ladder = WholeLadder(model)
    bands = split(ladder.band(0, ladder.descend(0, ladder.start(2), latents)[0]))
    for band in bands:
        gradients = torch.autograd.grad((band.real + 2 * band.imag).sum(), latents, retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_contexts_do_not_see_bins(model, kspace, noise):
    h = torch.randn(2, 8, 4, 4, generator=noise)
    assert torch.equal(model.context(3, h, crop(kspace, 4)), model.context(3, h, 0 * crop(kspace, 4)))


def test_the_ladder_is_that_of_the_scales(model, latents):
    """Layer by layer of the model, and in two parts wherever they meet."""
    ladder, h = WholeLadder(model), None
    nothing = torch.zeros(2, 0, 0)
    for index in range(5):
        h, _ = model.descend(index, model.context(index, h, nothing), latents[2 * index : 2 * index + 2])
    whole, priors = ladder.descend(0, ladder.start(2), latents)
    assert len(priors) == 10
    torch.testing.assert_close(whole, h)
    for cut in range(1, 10):
        first, _ = ladder.descend(0, ladder.start(2), latents[:cut])
        torch.testing.assert_close(ladder.descend(0, first, latents[cut:], cut)[0], h)
    means = [torch.zeros_like(e) for e in latents]
    torch.testing.assert_close(
        ladder.descend(0, ladder.start(2))[0], ladder.descend(0, ladder.start(2), means)[0]
    )


class Fixed(torch.nn.Module):
    """Returns the same value whatever it is given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _):
        return self.value


def test_the_head_works_at_unit_scale(noise):
    """Channels of unit power become bins of each band's gain."""
    model = IAHVAE(preset("tiny", encoder="bottom-up", decoder="ordinary"))
    model.gains.copy_(torch.tensor([25.0, 20.0, 11.0, 3.0, 1.0, 0.2]))
    model.stage(5).head.image = Fixed(torch.randn(400, 8, 16, 16, generator=noise))
    bins = model.band(5, torch.zeros(400, 16, 16, 16))
    for s, band, gain in zip(scales(32), split(bins), model.gains, strict=True):
        rms = band[:, band_mask(s)].abs().square().mean().sqrt()
        assert rms.item() == pytest.approx(float(gain), rel=0.12 / s + 0.01)


def test_completion_keeps_the_known_bins(model, kspace, noise):
    h = torch.randn(2, 8, 4, 4, generator=noise)
    known = crop(kspace, 4)
    completed = complete(model, 2, h, known)
    assert torch.equal(crop(completed, 4), known)
    for index in (3, 4):
        h, _ = model.descend(index, model.context(index, h, known[:, :0, :0]))
    outside = ~block_mask(4, 16)
    torch.testing.assert_close(completed[:, outside], model.band(4, h)[:, outside])
    assert (completed[:, outside].abs() > 0).all()
