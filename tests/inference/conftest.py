"""A model on the 16 x 16 grid whose every weight matters, and canonical data that suit it; a linear model."""

import pytest
import torch

from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from tests.linear_model import LinearModel


@pytest.fixture(scope="session")
def make_model():
    """Makes a model with M layers per scale, and with other values of its configuration."""

    def make(layers=2, sigma=0.3, **changes):
        config = ModelConfig(
            scales=(*(ScaleConfig(layers, 8, 4) for _ in range(4)), ScaleConfig(layers, 12, 6, patch=2)),
            encoder_blocks=1,
            head_blocks=1,
            sigma=sigma,
            gains=(9.0, 6.0, 4.0, 2.0, 0.7),
            **changes,
        )
        torch.manual_seed(0)
        model = IAHVAE(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.15 * torch.randn_like(weight))
        return model.eval().requires_grad_(requires_grad=False)

    return make


@pytest.fixture(scope="session")
def model(make_model):
    return make_model()


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def kspace(model, noise):
    """Canonical-looking k-space, complex64 (3, 16, 16)."""
    parts = torch.randn(3, 16, 16, 2, generator=noise)
    return torch.view_as_complex(parts) * model.power.sqrt() / 2**0.5


@pytest.fixture(scope="session")
def linear():
    return LinearModel()
