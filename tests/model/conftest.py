"""Models whose every weight matters: fresh ones have standard normal priors, heads that predict zero, gains of one."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset

TWO_LAYERS = ModelConfig(
    scales=(*(ScaleConfig(2, 8, 4) for _ in range(4)), ScaleConfig(2, 12, 6, patch=2)),
    latent=2,
    encoder_blocks=1,
    head_blocks=1,
    gains=(9.0, 6.0, 4.0, 2.0, 0.5),
)
"""16 x 16, two layers per scale, two latent channels, the finest scale folded."""

FINEST = (ScaleConfig(2, 8, 4, super_resolution=3), ScaleConfig(2, 12, 6, 2, 4))
SUPER_RESOLUTION = replace(TWO_LAYERS, scales=(*TWO_LAYERS.scales[:3], *FINEST))
"""The same, both finest scales with super-resolution branches."""


def made(config, seed=0):
    torch.manual_seed(seed)
    model = IAHVAE(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval().requires_grad_(requires_grad=False)


MODELS = {"tiny": preset("tiny"), "two layers": TWO_LAYERS, "super-resolution": SUPER_RESOLUTION}


@pytest.fixture(scope="session", params=MODELS)
def model(request):
    return made(MODELS[request.param])


@pytest.fixture(scope="session")
def variant():
    """Makes the model of two layers per scale with another encoder, heads or decoder."""
    return lambda **changes: made(replace(TWO_LAYERS, **changes))


@pytest.fixture(scope="session")
def super_resolving():
    return made(SUPER_RESOLUTION)


@pytest.fixture
def kspace(model, noise):
    """Canonical-looking k-space, complex64 (2, N, N)."""
    parts = torch.randn(2, model.size, model.size, 2, generator=noise)
    return torch.view_as_complex(parts) * model.power.sqrt()


class Fixed(torch.nn.Module):
    """Returns the same value whatever it is given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _):
        return self.value
