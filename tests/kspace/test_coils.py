"""Coils: the SENSE operator, its data step, and combinations of coil images."""

import pytest
import torch

from mri_iahvae.kspace.coils import Sense, combine, conjugate_gradients, rss
from mri_iahvae.kspace.fft import fft2c

SIZES = [(8, 8), (12, 9), (7, 10), (5, 5), (2, 6)]


def normal(*shape):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(sum(shape)))


def inner(a, b):
    return torch.vdot(a.flatten(), b.flatten())


def columns(width):
    """Bool (1, width): every other column, and the centre."""
    mask = torch.arange(width) % 2 == 0
    mask[width // 2 - 1 : width // 2 + 2] = True
    return mask[None]


def dense(operator, height, width):
    """The matrix of a linear map of images (H, W): (outputs, H W)."""
    units = torch.eye(height * width, dtype=torch.complex64).unflatten(1, (height, width))
    return torch.stack([operator(unit[None])[0].flatten() for unit in units], dim=1)


@pytest.fixture
def sense(coil_maps):
    """Makes the measurement of two slices by three coils, of columns or single bins."""

    def make(height, width, *, single=False):
        maps = torch.from_numpy(coil_maps(3, height, width))
        maps = torch.stack([maps, maps.flip(0).conj()])
        bins = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) < 0.4
        return Sense(maps, bins if single else columns(width))

    return make


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("single", [False, True])
def test_adjoint_and_normal_operator(sense, size, single):
    operator = sense(*size, single=single)
    image, kspace = normal(2, *size), normal(2, 3, *size)
    forward, backward = inner(operator.forward(image), kspace), inner(image, operator.adjoint(kspace))
    torch.testing.assert_close(forward, backward, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(operator.normal(image), operator.adjoint(operator.forward(image)))


@pytest.mark.parametrize("size", [(6, 6), (5, 8), (7, 5)])
@pytest.mark.parametrize("single", [False, True])
def test_data_step_against_a_dense_solve(sense, size, single):
    operator = sense(*size, single=single)
    kspace, prior = normal(2, 3, *size), normal(2, *size)
    weight = 0.1 + torch.rand(2, *size, generator=torch.Generator().manual_seed(1))
    found = operator.data_step(kspace, prior, weight, 60)
    for row in range(2):
        one = Sense(operator.sensitivities[row : row + 1], operator.mask)
        measure, fourier = dense(one.forward, *size), dense(fft2c, *size)
        penalty = fourier.mH @ (weight[row].flatten()[:, None] * fourier)
        target = measure.mH @ kspace[row].flatten() + penalty @ prior[row].flatten()
        expected = torch.linalg.solve(measure.mH @ measure + penalty, target)
        torch.testing.assert_close(found[row].flatten(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_the_data_step_knows_no_units(sense, scale):
    operator, kspace, prior = sense(7, 10), normal(2, 3, 7, 10), normal(2, 7, 10)
    found = operator.data_step(kspace * scale, prior * scale, torch.tensor(0.1), 8) / scale
    expected = operator.data_step(kspace, prior, torch.tensor(0.1), 8)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


EIGENVALUES = torch.tensor([0.05, 0.4, 1.0]).repeat(8).reshape(4, 6)


def test_conjugate_gradients_need_one_step_per_eigenvalue():
    target = normal(2, 4, 6)
    nothing = torch.zeros_like(target)
    assert torch.equal(conjugate_gradients(lambda image: EIGENVALUES * image, nothing, 5), nothing)
    two, three = (conjugate_gradients(lambda image: EIGENVALUES * image, target, n) for n in (2, 3))
    torch.testing.assert_close(three, target / EIGENVALUES, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(two, three, rtol=0.1)


def test_a_row_that_is_solved_stays_as_it_is():
    target = normal(2, 4, 6)
    target[0] = torch.where(EIGENVALUES == 1, target[0], 0)  # solved by the first step
    one, few, many = (conjugate_gradients(lambda image: EIGENVALUES * image, target, n) for n in (1, 8, 40))
    assert torch.equal(one[0], many[0])
    assert torch.equal(few, many)
    torch.testing.assert_close(many, target / EIGENVALUES, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_one_coil_of_sensitivity_one_is_data_consistency(size):
    mask = columns(size[1])
    operator = Sense(torch.ones(1, 1, *size, dtype=torch.complex64), mask)
    kspace, prior = normal(1, 1, *size), normal(1, *size)
    found = fft2c(operator.data_step(kspace, prior, torch.tensor(0.5), 10))
    expected = torch.where(mask, (kspace[:, 0] + 0.5 * fft2c(prior)) / 1.5, fft2c(prior))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_combinations_of_one_image_give_it_back(coil_maps):
    maps, image = torch.from_numpy(coil_maps(4, 9, 12))[None], normal(1, 9, 12)
    images = maps * image[:, None]
    torch.testing.assert_close(combine(images, maps), image)
    torch.testing.assert_close(rss(images), image.abs())
