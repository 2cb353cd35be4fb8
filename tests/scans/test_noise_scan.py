"""Noise that was measured apart: files of all kinds whiten the coils alike, and what cannot be used is refused."""

import h5py
import ismrmrd
import numpy as np
import pytest

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.scans.noise_scan import prewhitened
from mri_iahvae.scans.reader import open_scan
from tests.array_files import save_array
from tests.mrd_files import FULL, acquisition, lines, write_mrd

MIXING = np.array([[2.0, 0, 0], [1 + 1j, 0.5, 0], [0.1, 0.2j, 0.3]])


def white(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.fixture
def scan(tmp_path, rng):
    """Two slices of the noise of three coils alone."""
    values = np.einsum("cd,sdhw->schw", MIXING, white(rng, 2, 3, 64, 48))
    np.save(tmp_path / "scan.npy", values.astype(np.complex64))
    return open_scan(tmp_path / "scan.npy")


@pytest.fixture
def samples(rng):
    return (MIXING @ white(rng, 3, 4800)).astype(np.complex64)


@pytest.fixture
def save(tmp_path):
    """Writes an array as one of the formats, and returns the path; coils are BART's dimension 3."""
    return lambda values, kind: save_array(
        tmp_path / f"noise.{kind}", values.T[None, :, None] if kind == "cfl" else values, "noise"
    )


def covariance(scan):
    """Per part, of the coils."""
    values = np.moveaxis(scan.read_coils(slice(None)), 1, 0).reshape(scan.coils, -1)
    return values @ values.conj().T / values.shape[1] / 2


@pytest.mark.parametrize("kind", ["npy", "h5", "cfl"])
def test_coils_become_white_and_their_level_known(scan, samples, save, kind):
    found = prewhitened(scan, save(samples, kind))
    level = np.prod(np.sqrt(np.diagonal(MIXING @ MIXING.conj().T).real)) ** (1 / 3)
    np.testing.assert_allclose(found.noise_sigma, [level, level], rtol=0.03)
    np.testing.assert_allclose(covariance(found) / level**2, np.eye(3), atol=0.08)
    assert found.notes == (f"3 coils are prewhitened by 4800 samples of noise.{kind}",)


def test_a_noise_scan_may_look_like_the_scan_and_hold_zeros(scan, samples, save):
    whole = np.zeros((2, 3, 60, 50), np.complex64)  # zero where nothing was sampled
    whole[..., :40] = np.moveaxis(samples.reshape(3, 2, 60, 40), 0, 1)
    found, expected = (prewhitened(scan, save(values, "npy")) for values in (whole, samples))
    np.testing.assert_allclose(found.whitening, expected.whitening, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.noise_sigma, expected.noise_sigma, rtol=1e-5)


@pytest.mark.parametrize(("dwell", "expected"), [(5, 0.5), (20, 1.0), (0, None)])
def test_noise_lines_of_another_file_go_by_the_dwell_times(tmp_path, rng, dwell, expected):
    """A quarter of the dwell time is twice the noise."""
    image = white(rng, 1, 3, 24, 18).astype(np.complex64)
    path = write_mrd(tmp_path / "scan.mrd", lines(image, head={"sample_time_us": 20}), FULL)
    flags, head = [ismrmrd.ACQ_IS_NOISE_MEASUREMENT], {"sample_time_us": dwell}
    noise = [acquisition(white(rng, 3, 4000).astype(np.complex64), flags=flags, head=head)]
    found = prewhitened(open_scan(path), write_mrd(tmp_path / "noise.mrd", noise, FULL))
    assert found.whitening.shape == (3, 3)
    if expected is None:
        assert found.noise_sigma is None
        assert "no dwell time is stated" in found.warnings[-1]
    else:
        np.testing.assert_allclose(found.noise_sigma, expected, rtol=0.03)
    with pytest.raises(ScanError, match=r"expected noise lines of 3 coils, found none"):
        prewhitened(open_scan(path), path)


def test_coils_are_whitened_once(scan, samples, save):
    path = save(samples, "npy")
    with pytest.raises(UsageError, match="prewhitened by its own noise lines"):
        prewhitened(prewhitened(scan, path), path)


def test_of_one_coil_the_level_alone_is_taken(tmp_path, rng, save):
    np.save(tmp_path / "one.npy", white(rng, 2, 32, 24).astype(np.complex64))
    scan = open_scan(tmp_path / "one.npy")
    found = prewhitened(scan, save(3 * white(rng, 1, 5000), "npy"))
    np.testing.assert_allclose(found.noise_sigma, 3, rtol=0.03)
    np.testing.assert_array_equal(found.read_coils(0), scan.read_coils(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z[:2], r"expected noise of 3 coils, .* found shape \(2, 4800\)"),
        (lambda z: z[:, :11], "expected at least 12 samples of noise of 3 coils, found 11"),
        (lambda z: z[[0, 1, 1]], "found coil 2 with the noise of coils before it"),
        (lambda z: z * np.array([[1], [0], [1]]), "found no noise in coil 1"),
        (lambda z: z * np.array([[1], [1], [np.nan]]), "found values in coil 2 that are not finite"),
        (lambda z: z.real, "complex"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_what_cannot_be_used_is_refused(scan, samples, save, change, message, kind):
    with pytest.raises(ScanError, match=message) as caught:
        prewhitened(scan, save(change(samples), kind))
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(scan, tmp_path):
    (tmp_path / "noise.dat").write_bytes(b"1234")
    with pytest.raises(ScanError, match=r"expected npy, HDF5 .* found the suffix '\.dat'"):
        prewhitened(scan, tmp_path / "noise.dat")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kspace"] = np.ones((3, 20), np.complex64)
    with pytest.raises(ScanError, match=r"a dataset 'noise' .* found 'kspace' \(3, 20\)"):
        prewhitened(scan, tmp_path / "other.h5")
