import pytest
import torch

from mri_iahvae.model.blocks import Bottleneck


@pytest.mark.parametrize(("resolution", "reach"), [(2, 0), (4, 2)])
def test_blocks_look_around_from_resolution_four_on(resolution, reach, noise):
    torch.manual_seed(0)
    maps = torch.randn(1, 6, 8, 8, generator=noise, requires_grad=True)
    (gradient,) = torch.autograd.grad(Bottleneck(6, 4, resolution)(maps)[0, :, 4, 4].square().sum(), maps)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert torch.equal(gradient.abs().sum(dim=(0, 1)) > 0, expected)


def test_residual_blocks_start_near_the_identity(noise):
    torch.manual_seed(0)
    block, maps = Bottleneck(6, 4, 4), torch.randn(2, 6, 4, 4, generator=noise)
    change = block(maps) - maps
    block.scale_output(0.5)
    assert (block(maps) - maps).abs().max() < change.abs().max()
    block.scale_output(0.0)
    assert torch.equal(block(maps), maps)
    assert Bottleneck(6, 4, 4, out=3)(maps).shape == (2, 3, 4, 4)
