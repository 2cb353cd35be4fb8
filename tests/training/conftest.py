"""Smooth synthetic slices, and a model whose every weight matters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.statistics import canonical_batch, measure

CONFIG = ModelConfig(
    scales=(*(ScaleConfig(2, 8, 4) for _ in range(5)), ScaleConfig(1, 12, 6, patch=2)),
    encoder_blocks=1,
    head_blocks=1,
)


class Blobs:
    """Slices of a few soft blobs with a phase ramp, in scanner units; counts how often each is read."""

    def __init__(self, count: int, first: int = 0, size: int = 32) -> None:
        self.first, self.size = first, size
        self.reads = [0] * count

    def __len__(self) -> int:
        return len(self.reads)

    def read(self, index: int) -> np.ndarray:
        self.reads[index] += 1
        rng = np.random.default_rng(self.first + index)
        axis = torch.linspace(-1, 1, self.size)
        image = torch.zeros(self.size, self.size)
        for y, x, width, height in rng.uniform([-0.4, -0.4, 0.1, 0.5], [0.4, 0.4, 0.3, 1.0], (5, 4)):
            image += height * torch.exp(-((axis[:, None] - y) ** 2 + (axis[None] - x) ** 2) / (2 * width**2))
        phase = 0.5 + axis[:, None] - 0.7 * axis[None]
        return fft2c(1e-5 * torch.polar(image, phase.expand_as(image))).numpy()


@pytest.fixture
def config():
    """Configuration of a model on the 32 x 32 grid."""
    return CONFIG


@pytest.fixture(scope="session")
def make_blobs():
    return Blobs


@pytest.fixture
def blobs():
    """k-space of eight slices in scanner units, complex64 (8, 32, 32)."""
    return CachedSlices(Blobs(8)).stack(list(range(8)))


@pytest.fixture
def make_model(blobs):
    """Makes a model on a grid, gains measured on `blobs`, no weight at its initial value of zero.

    Other values of its configuration may be given.
    """

    def make(size=32, seed=0, **changes):
        torch.manual_seed(seed)
        model = IAHVAE(replace(CONFIG.coarse(size), **changes))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        model.set_config(measure(canonical_batch(blobs, size), replace(model.config, gains=())))
        return model.eval()

    return make


def same(a, b):
    """Equal in type and value, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b
