"""Noise lines of ISMRMRD raw data: coils are prewhitened, and the noise level is known."""

import h5py
import ismrmrd
import numpy as np
import pytest

from mri_iahvae.scans.reader import open_scan
from tests.mrd_files import acquisition, lines

MIXING = np.array([[2e-3, 0], [1e-3 + 2e-3j, 5e-4]])  # of the noise of two coils
FLAG = [ismrmrd.ACQ_IS_NOISE_MEASUREMENT]


def white(rng, *shape):
    """Complex noise of variance 2, that is 1 per part."""
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def noise_lines(rng, mixing=MIXING, count=8, samples=4096, **head):
    made = [mixing @ white(rng, len(mixing), samples) for _ in range(count)]
    return [acquisition(one.astype(np.complex64), flags=FLAG, head=head, repetition=3) for one in made]


def covariance(values):
    """Per part, of (slices, coils, ...)."""
    flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    return flat @ flat.conj().T / flat.shape[1] / 2


@pytest.fixture
def noise(rng):
    """k-space of correlated noise alone, of coils that differ by far."""
    return np.einsum("cd,sdhw->schw", MIXING, white(rng, 60, 2, 24, 18)).astype(np.complex64)


def test_coils_are_white_and_of_the_level_stated(write, noise, rng):
    scan = open_scan(write(noise_lines(rng, sample_time_us=5) + lines(noise, head={"sample_time_us": 5})))
    assert scan.notes == ("2 coils are prewhitened by 8 noise lines",)
    assert scan.warnings == ()
    found = covariance(scan.read_coils(slice(None)))
    level = np.prod(np.linalg.norm(MIXING, axis=1)) ** (1 / 2)  # geometric mean of the coils
    np.testing.assert_allclose(scan.noise_sigma, level, rtol=0.01)
    np.testing.assert_allclose(found, np.eye(2) * level**2, atol=0.03 * level**2)


def test_the_signal_is_that_of_whitened_sensitivities(write, raw, rng):
    """A product with one matrix, in every bin, that undoes the mixing but for a unitary matrix and the level."""
    scan = open_scan(write(noise_lines(rng) + lines(raw)))
    found = np.moveaxis(scan.read_coils(slice(None)), 1, 0).reshape(2, -1)
    given = np.moveaxis(raw, 1, 0).reshape(2, -1)
    matrix = found @ np.linalg.pinv(given)
    np.testing.assert_allclose(matrix @ given, found, atol=1e-4)
    product = matrix @ MIXING
    gram = product @ product.conj().T
    np.testing.assert_allclose(gram / gram[0, 0].real, np.eye(2), atol=0.03)


def test_the_dwell_time_and_averages_scale_the_level(write, noise, rng):
    """Four times the bandwidth is twice the noise; two averages of half the lines, and three of the others."""
    image = [lines(noise, range(18), average=n, head={"sample_time_us": 10}) for n in range(2)]
    more = lines(noise, range(9), average=2, head={"sample_time_us": 10})
    scan = open_scan(write(noise_lines(rng, sample_time_us=2.5) + sum(image, more)))
    once = open_scan(write(noise_lines(rng, sample_time_us=10) + image[0]))
    factor = 0.5 * np.sqrt((1 / 2 + 1 / 3) / 2)
    np.testing.assert_allclose(scan.noise_sigma, factor * once.noise_sigma, rtol=0.02)


@pytest.mark.parametrize(("before", "of"), [(0, 5), (5, 0), (0, 0), (np.nan, 5), (np.inf, 5)])
def test_without_dwell_times_the_level_is_left_out(write, noise, rng, before, of):
    image = lines(noise, head={"sample_time_us": of})
    scan = open_scan(write(noise_lines(rng, sample_time_us=before) + image))
    assert scan.noise_sigma is None
    assert "2 coils are prewhitened by 8 noise lines; their level is left out" in scan.warnings[0]
    found = covariance(scan.read_coils(slice(None)))
    np.testing.assert_allclose(found / found[0, 0].real, np.eye(2), atol=0.05)


def test_of_one_coil_the_level_alone_is_taken(write, raw, rng):
    one = raw[:, :1]
    same = {"sample_time_us": 5}
    scan = open_scan(write(noise_lines(rng, np.array([[0.25]]), count=1, **same) + lines(one, head=same)))
    assert scan.notes == ("the noise level is by 1 noise line",)
    np.testing.assert_allclose(scan.noise_sigma, 0.25, rtol=0.03)
    np.testing.assert_array_equal(scan.read_coils(slice(None)), one)
    scan = open_scan(write(noise_lines(rng, np.array([[0.25]])) + lines(one)))
    assert scan.warnings == ("8 noise lines are left out: no one dwell time is stated",)


def test_discarded_samples_of_noise_do_not_count(write, raw, rng):
    same = {"sample_time_us": 5}
    (line,) = noise_lines(rng, count=1, discard_pre=100, discard_post=50, **same)
    image = lines(raw, head=same)
    wanted = open_scan(write([line, *image])).noise_sigma
    line.data[:, :100] = line.data[:, -50:] = 1e6
    np.testing.assert_array_equal(open_scan(write([line, *image])).noise_sigma, wanted)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda z: z[:, :7], "7 samples are too few"),
        (lambda z: z[:, :0], "0 samples are too few"),
        (lambda z: z[[0, 0]] * [[1], [2j]], "that of others"),
        (lambda z: z * [[1], [0]], "no noise"),
        (lambda z: np.where(np.arange(40) == 3, np.nan, z), "not finite"),
        (lambda z: np.where(np.arange(40) == 3, np.inf, z), "not finite"),
        (lambda z: z[[0, 1, 1]], "of other coils"),
    ],
)
def test_noise_that_cannot_be_used_is_left_out(write, raw, rng, made, why):
    line = acquisition(made(white(rng, 2, 40)).astype(np.complex64), flags=FLAG)
    scan = open_scan(write([line, *lines(raw)]))
    assert scan.noise_sigma is None
    assert scan.warnings[0].startswith("1 noise line is left out, and the coils are not prewhitened: ")
    assert why in scan.warnings[0]
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)


def test_noise_lines_that_are_damaged_or_discarded_whole(write, raw, rng):
    made = noise_lines(rng, count=1, samples=100, discard_post=150) + lines(raw)
    assert "0 samples are too few" in open_scan(write(made)).warnings[0]
    path = write(noise_lines(rng) + lines(raw))
    with h5py.File(path, "a") as file:
        record = file["dataset/data"][3]
        record["data"] = np.zeros(7, np.float32)
        file["dataset/data"][3] = record
    scan = open_scan(path)
    assert "their data are not what their headers say" in scan.warnings[0]
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
