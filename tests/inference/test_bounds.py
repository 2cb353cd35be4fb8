"""What the model adds is bounded, whatever comes: the two bounds, and what takes the place of what is beyond them."""

import math
from types import SimpleNamespace

import pytest
import torch

from mri_iahvae.inference.bounds import MARGIN, REACH, bounded, out_of_bounds
from mri_iahvae.inference.draws import Element
from mri_iahvae.inference.measurement import Datum
from mri_iahvae.kspace.bands import block_mask, crop
from tests.inference.runs import COLUMNS, inference

pytestmark = pytest.mark.usefixtures("within_bounds")


def scale(energy):
    """A scale of which only the energy counts."""
    return SimpleNamespace(energy=lambda: energy)


def datum(values):
    """Measured without noise: complex (B, s, s)."""
    return Datum(values, torch.zeros(values.shape), torch.ones(len(values)))


def beyond(latents, predicted=0.0, measured=0.0, temperature=1.0):
    """Whether a slice with 100 latents in each of two layers and one bin in a band of energy 1 is out of bounds."""
    layers = [torch.full((1, 1, 10, 10), 0.5), torch.full((1, 1, 10, 10), float(latents))]
    bins = [torch.full((1, 1, 1), complex(value)) for value in (predicted, measured)]
    return bool(out_of_bounds(scale(1.0), layers, bins[0], datum(bins[1]), temperature))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"latents": 0.99 * REACH}, False),
        ({"latents": -1.01 * REACH}, True),
        ({"latents": -1.9 * REACH, "temperature": 2.0}, False),
        ({"latents": 0.99 * REACH, "temperature": 0.1}, False),
        ({"latents": 0, "predicted": 0.99j * MARGIN}, False),
        ({"latents": 0, "predicted": 1.01 * MARGIN}, True),
        ({"latents": 0, "predicted": 5 * MARGIN, "measured": 5.1}, False),
        ({"latents": 0, "predicted": 5 * MARGIN, "measured": 4.9}, True),
        ({"latents": math.nan}, True),
        ({"latents": 0, "predicted": math.nan}, True),
        ({"latents": 0, "predicted": math.inf}, True),
    ],
    ids=str,
)
def test_the_bounds(values, expected):
    assert beyond(**values) == expected


def test_every_layer_counts_and_every_slice_alone():
    layers = [torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 2, 2)]
    layers[1][1] = 1.1 * REACH
    none = torch.zeros(3, 4, 4, dtype=torch.complex64)
    assert out_of_bounds(scale(1.0), layers, none, datum(none), 1.0).tolist() == [False, True, False]


def test_the_energy_of_a_scale_is_that_of_its_gain(model):
    assert model.scales[0].energy() == 9.0**2
    assert model.scales[2].energy() == pytest.approx(12 * 4.0**2)


@pytest.mark.parametrize("index", [2, 4])
def test_beyond_the_bounds_the_prior_mean_takes_the_place_and_else_zero(model, kspace, index):
    """Of three slices the first is within, of the second the latents are not, of the third the mean is not either."""
    scale, s = model.scales[index], 2**index
    start = scale.context(torch.randn(3, 8, s // 2, s // 2), crop(kspace, s // 2))
    start[2] *= 1e6
    latents = [torch.full((3, *latent.shape), 0.3) for latent in scale.latents]
    for e in latents:
        e[1:] = 1e3
    last, none = scale.run(start, latents), torch.zeros(3, s, s, dtype=torch.complex64)
    mean = scale.run(start)
    found, bins, kept, out = bounded(scale, start, latents, datum(none), 1.0)
    assert out.tolist() == [False, True, True]
    assert torch.equal(found[0], last[0])
    assert torch.equal(bins[0], scale.bins(last)[0])
    torch.testing.assert_close(bins[1], scale.bins(mean)[1])
    assert (bins[2] == 0).all()
    assert all((e[0] == 0.3).all() and (e[1:] == 0).all() for e in kept)


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid", "paper"])
@pytest.mark.parametrize("sample", [None, 0])
def test_one_wild_slice_changes_no_other(model, kspace, method, sample):
    """Nor is it changed itself where it is measured."""
    if method == "paper" and sample is not None:
        pytest.skip("it draws no samples")
    elements = [Element(k, sample) for k in range(3)]
    wild = kspace.clone()
    wild[1] = 1e4 * kspace[1] * ~block_mask(4, 16) + kspace[1] * block_mask(4, 16)
    calm, found = (inference(model, k, COLUMNS, method, elements=elements) for k in (kspace, wild))
    assert found.bounded[1] or method == "iterative"  # its few steps from the prior do not go far
    assert torch.equal(found.bounded[::2], calm.bounded[::2])
    torch.testing.assert_close(found.bins[::2], calm.bins[::2], rtol=1e-3, atol=1e-3)
    assert torch.equal(found.bins[1][COLUMNS[0]], wild[1][COLUMNS[0]])
    added = found.bins[1][~COLUMNS[0]].abs().square().sum()
    assert added < MARGIN**2 * (wild[1].abs().square() * COLUMNS[0]).sum()
