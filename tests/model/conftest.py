"""Models whose every weight matters: fresh ones have silent priors, heads that see no latents, gains of one."""

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

DETAILS = replace(
    TWO_LAYERS,
    scales=(*TWO_LAYERS.scales[:3], ScaleConfig(2, 8, 4, super_resolution=3), ScaleConfig(2, 12, 6, 2, 4)),
)
"""The same, both finest scales with details."""


def make_model(config: ModelConfig, seed: int = 0) -> IAHVAE:
    torch.manual_seed(seed)
    model = IAHVAE(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval().requires_grad_(requires_grad=False)


MODELS = {"tiny": preset("tiny"), "two layers": TWO_LAYERS, "details": DETAILS}


@pytest.fixture(scope="session", params=MODELS)
def model(request) -> IAHVAE:
    return make_model(MODELS[request.param])


@pytest.fixture(scope="session")
def variant():
    """Makes the model of two layers per scale with another encoder, heads or decoder."""
    return lambda **changes: make_model(replace(TWO_LAYERS, **changes))


@pytest.fixture
def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def kspace(model, noise) -> torch.Tensor:
    """Canonical-looking k-space, complex64 (2, N, N)."""
    parts = torch.randn(2, model.size, model.size, 2, generator=noise)
    return torch.view_as_complex(parts) * model.power.sqrt()
