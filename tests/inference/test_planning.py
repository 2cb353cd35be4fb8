import numpy as np
import pytest
import torch

from mri_iahvae.inference.planning import ColumnErrors, choose, column_variances, row_covariances
from mri_iahvae.model.estimate import Estimate


def estimate_of(variance, in_phase=1.0, quadrature=1.0, height=8):
    """An estimate whose image has phase 0, from the variance of each column (W,)."""
    width = len(variance)
    kspace = torch.zeros(1, height, width, dtype=torch.complex64)
    kspace[:, height // 2, width // 2] = 1  # a constant image
    spread = torch.stack([torch.full((height, width), float(x)) for x in (in_phase, quadrature)])[None]
    return Estimate(kspace, torch.as_tensor(variance).float().expand(1, height, width), spread)


def brute_force(variance, spread, phase):
    """Covariance of one row by its linear map from 2 W white numbers, (2 W, 2 W)."""
    width = len(variance)
    white = np.eye(2 * width)
    image = phase * (spread[0] * white[:, :width] + 1j * spread[1] * white[:, width:])
    line = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes=-1), norm="ortho"), axes=-1)
    bins = line * np.sqrt(variance)
    maps = np.concatenate([bins.real, bins.imag], axis=1)
    return maps.T @ maps


@pytest.mark.parametrize("width", [5, 8])
def test_covariance_of_a_row_is_that_of_its_linear_map(rng, width):
    variance, spread = rng.uniform(0.1, 2, width), rng.uniform(0, 2, (2, width))
    phase = np.exp(1j * rng.uniform(-3, 3, width))
    arrays = (torch.from_numpy(a)[None] for a in (variance, spread[:, None], phase[None]))
    found = row_covariances(*arrays)[0, 0]
    np.testing.assert_allclose(found, brute_force(variance, spread, phase), atol=1e-12)


def test_independent_columns_are_chosen_by_their_variance():
    variance = torch.tensor([1.0, 7.0, 2.0, 1e-3, 5.0, 3.0])
    errors = ColumnErrors(estimate_of(variance), torch.tensor([False, False, False, True, False, False]))
    errors._covariance = row_covariances(  # the smoothing over columns left out
        variance[None].double(), torch.ones(1, 2, 8, 6).double(), torch.ones(1, 8, 6)
    )[0]
    errors._scale = 1.0
    np.testing.assert_allclose(errors.gains()[[0, 1, 2, 4, 5]], 8 * 2 * variance[[0, 1, 2, 4, 5]], rtol=1e-4)
    order, expected = choose(errors, ~errors.mask, 3)
    assert order == [1, 4, 5]
    np.testing.assert_allclose(expected, [8 * 2 * left for left in (11, 6, 3)], rtol=1e-4)


def test_a_real_error_is_known_on_both_sides_of_the_centre_once_one_is_measured():
    width = 8
    mask = torch.arange(width) == width // 2
    errors = ColumnErrors(estimate_of(np.ones(width), in_phase=2**0.5, quadrature=0.0), mask)
    gains, before = errors.gains(), errors.expected()
    partners = [(3, 5), (2, 6), (1, 7)]
    for one, other in partners:  # each saves two columns; the Nyquist frequency is its own partner
        assert gains[one] == pytest.approx(2 * before / 7, rel=1e-3)
        assert gains[other] == pytest.approx(2 * before / 7, rel=1e-3)
    assert gains[0] == pytest.approx(before / 7, rel=1e-3)
    order, expected = choose(errors, ~mask, 4)
    assert order[-1] == 0
    assert all(len({one, other} & set(order)) == 1 for one, other in partners)
    np.testing.assert_allclose(np.array(expected) / before, [5 / 7, 3 / 7, 1 / 7, 0], atol=1e-3)


def test_gain_is_what_measuring_takes_off_and_chosen_columns_are_new(rng):
    width = 9
    found = estimate_of(rng.uniform(0.1, 2, width))
    found = found._replace(spread=torch.from_numpy(rng.uniform(0.1, 2, found.spread.shape)).float())
    mask = torch.tensor([0, 0, 0, 1, 1, 0, 0, 0, 0]).bool()
    for column in (0, 5):
        errors = ColumnErrors(found, mask)
        gain, before = errors.gains()[column], errors.expected()
        assert before == pytest.approx(2 * float(found.variance[..., ~mask].sum()), rel=1e-5)
        errors.measure(column)
        assert before - errors.expected() == pytest.approx(float(gain), rel=1e-3)
    candidates = ~mask & (torch.arange(width) != 8)
    order, expected = choose(ColumnErrors(found, mask), candidates, int(candidates.sum()))
    assert sorted(order) == candidates.nonzero().flatten().tolist()
    assert all(np.diff(expected) < 0)


def test_variances_keep_an_even_level_and_follow_the_frequency():
    mask = torch.arange(16) == 8
    even = column_variances(estimate_of(np.full(16, 3.0)), mask)
    np.testing.assert_allclose(even, 3.0, rtol=1e-5)
    falling = column_variances(estimate_of(1 / (1.0 + (np.arange(16) - 8) ** 2)), mask)[0]
    assert all(np.diff(falling[8:]) < 0)
    np.testing.assert_allclose(falling[1:8].flip(0), falling[9:], rtol=1e-5)
