import pytest
import torch

from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset


@pytest.mark.parametrize(("resolution", "reach"), [(2, 0), (4, 2)])
def test_blocks_look_around_from_resolution_four_on(resolution, reach, noise):
    torch.manual_seed(0)
    block = Bottleneck(6, 4, resolution)
    maps = torch.randn(1, 6, 8, 8, generator=noise, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(maps)[0, :, 4, 4].square().sum(), maps)
    seen = gradient.abs().sum(dim=(0, 1)) > 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert torch.equal(seen, expected)


def test_residual_blocks_start_near_the_identity(noise):
    torch.manual_seed(0)
    block = Bottleneck(6, 4, 4)
    maps = torch.randn(2, 6, 4, 4, generator=noise)
    change = block(maps) - maps
    block.expand.bias.data.zero_()
    block.scale_output(0.5)
    assert (block(maps) - maps).abs().max() < change.abs().max()
    block.scale_output(0.0)
    assert torch.equal(block(maps), maps)
    assert Bottleneck(6, 4, 4, out=3)(maps).shape == (2, 3, 4, 4)


def test_fresh_priors_are_standard_normal(noise):
    torch.manual_seed(0)
    model = IAHVAE(preset("tiny"))
    prior, residual = model.layers(3)[0].prior(torch.randn(2, 16, 8, 8, generator=noise))
    for values in (prior.mean, prior.log_std, residual):
        assert values.abs().max() == 0


def test_a_layer_adds_residual_and_latent_to_the_context(model, noise):
    layer = model.layers(2)[0]
    channels = model.config.scales[2].channels
    h, residual = (torch.randn(2, channels, 4, 4, generator=noise) for _ in range(2))
    z = torch.randn(2, layer.latent, 4, 4, generator=noise)
    summed = h + residual + torch.einsum("oi,bihw->bohw", layer.project.weight[:, :, 0, 0], z)
    expected = layer.block(summed + layer.project.bias[:, None, None])
    torch.testing.assert_close(layer.advance(h, residual, z), expected)


def test_the_posterior_is_an_offset_from_the_prior(model, noise):
    """In units of the prior: it follows a prior that moves, and is the prior where the encoder is silent."""
    layer = model.layers(2)[0]
    channels = model.config.scales[2].channels
    h, features = (torch.randn(2, channels, 4, 4, generator=noise) for _ in range(2))
    prior, _ = layer.prior(h)
    moved = Gaussian(prior.mean + 1.5, prior.log_std + 0.7)
    q, follower = (layer.posterior(h, features, p) for p in (prior, moved))
    torch.testing.assert_close((q.mean - prior.mean) / prior.std, (follower.mean - moved.mean) / moved.std)
    torch.testing.assert_close(q.log_std + 0.7, follower.log_std)
    assert not torch.allclose(q.mean, layer.posterior(h, -features, prior).mean)
