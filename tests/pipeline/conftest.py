import numpy as np
import pytest
import torch

from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.pipeline.loaded import LoadedModel


@pytest.fixture(scope="session")
def loaded(checkpoint):
    """The tiny model of `checkpoint` with its guide."""
    return LoadedModel.load(str(checkpoint), torch.device("cpu"))


@pytest.fixture(scope="session")
def model(loaded):
    return loaded.model


@pytest.fixture
def columns(rng):
    """Bool (32, 32): the central 6 columns and a third of the others."""
    chosen = rng.random(32) < 0.3
    chosen[13:19] = True
    return np.tile(chosen, (32, 1))


@pytest.fixture(scope="module")
def guide():
    torch.manual_seed(0)
    guide = Guide(GuideConfig(2, (4, 8), 1))
    with torch.no_grad():
        for weight in guide.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return guide.eval().requires_grad_(requires_grad=False)
