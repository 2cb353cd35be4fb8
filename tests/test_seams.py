"""Each seam, with a toy implementation that touches no module of the package."""

import math

import torch
from torch import nn

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.training.objective import complete, posterior_pass
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


def test_a_scale():
    """One that shares nothing with the networks: training's walks are the same as inference's."""
    linear = LinearModel()
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
