"""Each seam, with a toy implementation that touches no module of the package."""

import math

import pytest
import torch
from torch import nn

from mri_iahvae.inference import methods
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import METHODS, infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import ENCODERS, IAHVAE
from mri_iahvae.training.objective import complete, masked_ratio, posterior_pass
from tests.decompositions import check_decomposition
from tests.linear_model import LinearModel, check_samples


def inferred(model, data, mask, method="hybrid", sigma=0.0, samples=False, **options):
    settings = InferenceSettings(method=method, **{"steps": 40, "data_consistency": "soft", **options})
    measured = Measurement.of(data, mask, torch.full((len(data),), sigma), model.decomposition)
    elements = tuple(Element(0, k) if samples else Element(k) for k in range(len(data)))
    return infer(model, measured, settings, Draws(0, 1.0, elements, torch.device("cpu")))


class Haar:
    """A `Decomposition`: Haar wavelets along rows and columns; the first s of each span all that s x s pixels show."""

    def __init__(self, size):
        self.size, self.sides = size, tuple(2**k for k in range(size.bit_length()))
        self.waves = [torch.ones(1, 1)]  # of each scale, (s, s): one in each row
        for s in self.sides[:-1]:
            pairs = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
            both = [torch.kron(self.waves[-1], pairs[0]), torch.kron(torch.eye(s), pairs[1])]
            self.waves.append(torch.cat(both) / math.sqrt(2))

    def ring(self, index, device=None):
        ring = torch.ones(self.sides[index], self.sides[index], dtype=torch.bool, device=device)
        ring[: self.sides[index] // 2, : self.sides[index] // 2] = False
        return ring

    def block(self, coefficients, index):
        return coefficients[..., : self.sides[index], : self.sides[index]]

    def extend(self, coarse, part, index):
        missing = part.shape[-1] - coarse.shape[-1]
        return nn.functional.pad(coarse, (0, missing, 0, missing)) + part

    def image(self, block, index):
        side, waves = self.sides[index], self.waves[index].to(block.dtype)
        missing = side - block.shape[-1]
        block = nn.functional.pad(block, (0, missing, 0, missing))
        return waves.mT @ block @ waves * (side / self.size)

    def separates(self, mask):
        """Each bin of k-space depends on all wavelets: only where all is measured, or nothing."""
        return bool((mask.flatten(1).all(1) == mask.flatten(1).any(1)).all())


def test_a_decomposition():
    """A tiny model on it is inferred by Algorithm 1 as it stands."""
    haar, noise = Haar(4), torch.Generator().manual_seed(0)
    check_decomposition(haar)
    image = complex_noise((1, 4, 4), 1.0, noise)
    coefficients = haar.waves[2].to(image.dtype) @ image @ haar.waves[2].mT.to(image.dtype)
    torch.testing.assert_close(haar.image(coefficients, 2), image)
    means = image.unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean(dim=(2, 4))
    torch.testing.assert_close(haar.image(haar.block(coefficients, 1), 1), means)  # a pixel of 2 x 2

    model = LinearModel(haar)
    some = torch.rand(1, 4, 4, generator=noise) < 0.6
    for mask, sigma in ((torch.ones(1, 4, 4, dtype=torch.bool), 0.5), (some, 0.0), (some, 0.5)):
        mean, covariance = model.posterior(coefficients[0], mask[0], sigma)
        found = inferred(model, coefficients, mask, sigma=sigma).bins
        torch.testing.assert_close(model.flat(found)[0], mean, rtol=0, atol=5e-3)
    drawn = inferred(model, coefficients.expand(1200, -1, -1), mask, sigma=sigma, samples=True)
    check_samples(model.flat(drawn.bins), mean, covariance)


class MeasuredFraction(nn.Module):
    """An `Encoder`, and its own `Session`: features of a scale are the fraction of its bins that is measured."""

    causal = False

    def __init__(self, scales, blocks, decomposition):
        super().__init__()
        self.scales, self.decomposition = scales, decomposition
        self.weight = nn.Parameter(torch.ones(1))

    def set_gains(self, gains):
        """It does not look at bins."""

    def begin(self, coefficients, mask):
        self.mask = mask
        return self

    def features(self, scale, block):
        ring, config = self.decomposition.ring(scale.index), self.scales[scale.index]
        fraction = (self.decomposition.block(self.mask, scale.index) & ring).flatten(1).sum(1) / ring.sum()
        resolution = config.resolution(scale.index)
        shape = len(self.mask), config.channels, resolution, resolution
        return self.weight * fraction[:, None, None, None].expand(shape)

    def extend(self, scale, block):
        pass


def test_an_encoder(monkeypatch):
    """In a model of the package: its features decide where latents start, in inference and in training."""
    monkeypatch.setitem(ENCODERS, "measured fraction", MeasuredFraction)
    torch.manual_seed(0)
    config = ModelConfig(
        (ScaleConfig(1, 8, 4),) * 4, encoder="measured fraction", sigma=0.3, gains=(4.0, 3.0, 2.0, 1.0)
    )
    model = IAHVAE(config).requires_grad_(requires_grad=True)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn_like(weight)
    kspace = complex_noise((2, 8, 8), 1.0, torch.Generator().manual_seed(0))
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    mask[..., 3] = False  # DC is measured, and half of the bins of scale 2
    for parameters in (
        posterior_pass(model, kspace).negative_elbo(0.3),
        masked_ratio(model, kspace, mask.expand(2, -1, -1)).sum(),
    ):
        (gradient,) = torch.autograd.grad(parameters, model.encoder.weight)
        assert gradient.abs() > 0
    assert complete(model, kspace, 4).isfinite().all()
    model.requires_grad_(requires_grad=False)
    own = [
        inferred(model, data, where, "amortized", data_consistency="none").bins[:, 4, 4]
        for data, where in ((kspace, mask), (2 * kspace, mask), (kspace, mask & False))
    ]
    assert torch.equal(own[0], own[1])  # the fraction is the same
    assert (own[0] != own[2]).all()
    refined = inferred(model, kspace, mask, "hybrid", data_consistency="none").bins
    started = inferred(model, kspace, mask, "amortized", data_consistency="none").bins
    misfit, before = (((found - kspace) * mask).abs().norm() for found in (refined, started))
    assert misfit < 0.8 * before


@pytest.fixture
def linear():
    return LinearModel()


def test_a_scale(linear):
    """One that has no part of the networks: training's walks are the same as inference's."""
    kspace = complex_noise((3, 4, 4), 1.0, torch.Generator().manual_seed(0))
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    passed = posterior_pass(linear, kspace)
    found = inferred(linear, kspace, everything, "amortized", data_consistency="none").bins
    torch.testing.assert_close(passed.bins, found)
    torch.testing.assert_close(passed.error.sum(0), (found - kspace).abs().square().sum((1, 2)))
    block = everything.clone()
    block[..., 0, :] = block[..., 0] = block[..., 3, :] = block[..., 3] = False  # the central 2 x 2 bins
    found = inferred(linear, kspace, block, "amortized", data_consistency="hard").bins
    torch.testing.assert_close(complete(linear, kspace, 2), found)


@pytest.mark.parametrize("method", ["iterative", "hybrid"])
def test_a_start(linear, monkeypatch, method):
    """The latents of another slice: of a linear model the minimum is the same wherever one starts."""
    noise = torch.Generator().manual_seed(0)
    kspace, mask = complex_noise((1, 4, 4), 1.0, noise), torch.rand(1, 4, 4, generator=noise) < 0.6
    mask[:, 2, 2] = True
    expected = inferred(linear, kspace, mask, method, sigma=0.3)
    other = inferred(linear, complex_noise((1, 4, 4), 1.0, noise), mask, method, sigma=0.3)
    assert not torch.allclose(other.bins, expected.bins, atol=0.1)

    def from_another_slice(problem):
        latents = list(other.latents[problem.scale.index])
        return latents, [torch.ones_like(e) for e in latents]

    monkeypatch.setitem(METHODS, method, methods.Method(from_another_slice, methods.minimise))
    started = inferred(linear, kspace, mask, method, sigma=0.3, steps=0)
    found = inferred(linear, kspace, mask, method, sigma=0.3)
    for begun, ended, theirs, own in zip(
        started.latents, found.latents, other.latents, expected.latents, strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(begun, theirs, strict=True))
        for a, b in zip(ended, own, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=5e-3)
    torch.testing.assert_close(found.bins, expected.bins, rtol=0, atol=5e-3)
