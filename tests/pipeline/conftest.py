import numpy as np
import pytest
import torch

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
