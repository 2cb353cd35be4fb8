import math

import pytest
import torch

from mri_iahvae.kspace.block_dct import BlockDCT
from mri_iahvae.kspace.decomposition import FourierBands
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.orthogonal import Rotations, angle_count
from mri_iahvae.kspace.separable import Separable, centred_order
from tests.decompositions import check_decomposition

SIZE = 8


def random_angles(size):
    return torch.randn(angle_count(size), generator=torch.Generator().manual_seed(1)).tolist()


def random_matrices(size):
    """Of a decomposition whose scales are any subspaces at all."""
    noise = torch.Generator().manual_seed(2)
    sides = [2**k for k in range(size.bit_length())]
    return [torch.linalg.qr(torch.randn(s, s, dtype=torch.float64, generator=noise))[0] for s in sides]


def decompositions(size):
    return [BlockDCT(size, 4), Rotations(size, random_angles(size)), Separable(random_matrices(size))]


every = pytest.mark.parametrize("decomposition", decompositions(SIZE), ids=lambda one: type(one).__name__)


@every
def test_it_is_a_decomposition(decomposition):
    check_decomposition(decomposition)


@pytest.mark.parametrize("size", [1, 2])
def test_the_smallest_grids(size):
    for decomposition in (BlockDCT(size), Rotations(size), Rotations(size, random_angles(size))):
        check_decomposition(decomposition)


@every
def test_analysis_is_the_inverse_and_the_adjoint_of_synthesis(decomposition):
    noise = torch.Generator().manual_seed(0)
    for index, side in enumerate(decomposition.sides):
        image, block = (complex_noise((3, side, side), 1.0, noise) for _ in range(2))
        torch.testing.assert_close(
            decomposition.synthesis(decomposition.analysis(image, index), index), image
        )
        a = (decomposition.analysis(image, index).conj() * block).sum()
        torch.testing.assert_close(a, (image.conj() * decomposition.synthesis(block, index)).sum())


@every
def test_all_of_kspace_is_kept(decomposition):
    """`from_kspace` as a matrix is unitary, and `to_kspace` its inverse; the last image is that of k-space."""
    basis = torch.eye(SIZE**2, dtype=torch.complex128).unflatten(1, (SIZE, SIZE))
    matrix = decomposition.from_kspace(basis).flatten(1)
    torch.testing.assert_close(matrix @ matrix.mH, torch.eye(SIZE**2, dtype=torch.complex128))
    torch.testing.assert_close(decomposition.to_kspace(decomposition.from_kspace(basis)), basis)
    images = decomposition.image(decomposition.from_kspace(basis), len(decomposition.sides) - 1)
    torch.testing.assert_close(images, FourierBands(SIZE).image(basis, 3))


@every
def test_white_noise_stays_white(decomposition):
    noise = complex_noise((20000, SIZE, SIZE), 1.0, torch.Generator().manual_seed(0))
    found = torch.view_as_real(decomposition.from_kspace(noise)).flatten(1)
    covariance = found.mT @ found / len(found)
    assert (covariance - torch.eye(2 * SIZE**2)).abs().max() < 6 / math.sqrt(len(found))


def test_the_first_coefficients_fill_the_centre():
    """In the order coarse to fine, each ring within that of the next scale."""
    for side in (1, 2, 8, 16):
        order = centred_order(side)
        assert sorted(order.tolist()) == list(range(side))
        for s in (2**k for k in range(side.bit_length())):
            assert sorted(order[:s].tolist()) == list(range(side // 2 - s // 2, side // 2 - s // 2 + s))


def couples(decomposition, mask):
    """Brute force: the Gram matrix of the measured part of every coefficient, and whether it links two scales."""
    basis = torch.eye(SIZE**2, dtype=torch.complex128).unflatten(1, (SIZE, SIZE))
    measured = (decomposition.to_kspace(basis) * mask).flatten(1)
    scale = torch.zeros(SIZE, SIZE, dtype=torch.int64)
    for index, side in enumerate(decomposition.sides):
        first = SIZE // 2 - side // 2
        scale[first : first + side, first : first + side][decomposition.ring(index)] = index
    scale = scale.flatten()
    gram = (measured @ measured.mH).abs()
    return bool((gram * (scale[:, None] != scale) > 1e-9).any())


def masks():
    everything = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    columns, folded, dc, nyquist = (everything.clone() for _ in range(4))
    columns[..., 2] = False
    folded[..., ::2] = False
    dc[..., 4, 4] = False
    nyquist[..., 0, 0] = False
    random = torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) < 0.6
    return {
        "everything": everything,
        "nothing": ~everything,
        "columns": columns,
        "every other column": folded,
        "all but DC": dc,
        "DC alone": ~dc,
        "all but a corner": nyquist,
        "random": random,
    }


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize(
    "decomposition",
    [*decompositions(SIZE), Rotations(SIZE), BlockDCT(SIZE)],
    ids=lambda one: type(one).__name__,
)
def test_separates_against_brute_force(decomposition, name):
    mask = masks()[name]
    assert decomposition.separates(mask) == (not couples(decomposition, mask))
    assert FourierBands(SIZE).separates(mask) == (not couples(FourierBands(SIZE), mask))


def test_brute_force_finds_both():
    """Columns couple the scales of Haar wavelets; DC alone, which is their coarsest scale, does not.

    Nor does every other column: it folds the image by half of the field of view, and a wavelet that is moved by whole
    pixels of its scale is a wavelet of that scale.
    """
    haar = Rotations(SIZE)
    assert couples(haar, masks()["columns"])
    assert not couples(haar, masks()["DC alone"])
    assert not couples(haar, masks()["every other column"])


def test_masks_of_a_batch_are_judged_together():
    haar = Rotations(SIZE)
    everything, columns = masks()["everything"], masks()["columns"]
    assert haar.separates(everything.expand(2, -1, -1))
    assert not haar.separates(torch.cat([everything, columns]))
