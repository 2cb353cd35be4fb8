"""A model on the 16 x 16 grid whose every weight matters, and canonical data that suit it; a linear model."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mri_iahvae.kspace.bands import band_mask
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE


@pytest.fixture(autouse=True)
def _bounds(request):
    """Those of `test_bounds` alone: random weights keep none (`unbounded`)."""
    if request.path.name != "test_bounds.py":
        request.getfixturevalue("unbounded")


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


@pytest.fixture
def replaced():
    """`dataclasses.replace` of a model's configuration, on the same weights."""

    def make(model, **changes):
        other = IAHVAE(replace(model.config, **changes))
        other.load_state_dict(model.state_dict())
        return other.eval().requires_grad_(requires_grad=False)

    return make


class LinearModel:
    """Stands in for the network on the 4 x 4 grid: two layers per scale, and the bins of a band are b + A e.

    Its posterior is known: no scale sees another one, and e, the bins and the data are jointly Gaussian.
    Its encoder is wrong on purpose: what it says may decide where a refinement starts, not where it ends.
    """

    size = 4

    def __init__(self):
        noise = torch.Generator().manual_seed(1)
        self.config = SimpleNamespace(sigma=0.4, encoder="causal", decoder="separable", spread=())
        self.decoder = [None] * 3
        self.gains = torch.ones(3)
        self.matrices, self.offsets = [], []
        for s in (1, 2, 4):
            self.matrices.append(torch.randn(2, 2 * s * s, s * s, generator=noise) / s)
            self.offsets.append(torch.randn(2, s, s, generator=noise))

    def layers(self, index):
        return self.matrices[index]

    def latent_shape(self, index):
        return 1, 2**index, 2**index

    def context(self, index, _h, coarse):
        return self.offsets[index].expand(len(coarse), -1, -1, -1)

    def descend(self, index, h, whitened=None, first=0):
        for e, matrix in zip(whitened or [], self.matrices[index][first:], strict=False):
            h = h + (e.flatten(1) @ matrix.T).unflatten(1, h.shape[1:])
        return h, []

    def band(self, index, h):
        return torch.complex(h[:, 0], h[:, 1]) * band_mask(2**index)

    def encoder_for(self, _kspace):
        return self.encode

    def encode(self, _index, kspace, _coarser):
        return kspace.real[:, None]

    def amortize(self, index, h, features):
        prior = Gaussian(torch.zeros_like(features), torch.zeros_like(features))
        posterior = Gaussian(0.3 * features, torch.full_like(features, -0.7))
        last, _ = self.descend(index, h, [posterior.mean] * 2)
        return last, [prior] * 2, [posterior] * 2, [posterior.mean] * 2

    def prior_of(self, index):
        """Mean (d,) and A (d, n) of the band's bins, real parts before imaginary ones."""
        ring = band_mask(2**index).flatten().repeat(2)
        return self.offsets[index].flatten()[ring], torch.cat(list(self.matrices[index]), dim=1)[ring]


@pytest.fixture(scope="session")
def linear():
    return LinearModel()


def gaussian_scores(samples, mean, covariance):
    """How far samples (K, d) are from N(mean, covariance), in standard deviations: (d,) and (d, d).

    The samples come in antithetic pairs about the mean of a Gaussian: their mean is exact, and only half of them
    count for the covariance.
    """
    deviation = (samples - mean).double()
    scale = covariance.double().diagonal().sqrt()
    found = deviation.T @ deviation / len(samples)
    expected = covariance.double()
    spread = (scale[:, None].square() * scale.square() + expected.square()) / (len(samples) / 2)
    return deviation.mean(0) / scale, (found - expected) / spread.sqrt()


@pytest.fixture(scope="session")
def check_samples():
    """Checks that antithetic samples (K, d), K large, have a Gaussian's mean and covariance."""

    def check(samples, mean, covariance):
        centre, scores = gaussian_scores(samples, mean, covariance)
        assert centre.abs().max() < 0.01
        upper = scores[torch.triu(torch.ones_like(scores)) > 0]
        assert upper.abs().max() < 6
        assert upper.square().mean().sqrt() < 1.3

    return check
