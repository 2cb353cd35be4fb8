"""Where a scan's noise level comes from, and that it is right."""

import numpy as np
import pytest
import torch

from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.noise_level import scan_noise
from mri_iahvae.scans.reader import open_scan


def levels(path, **given):
    """Sigma of all slices, and where it comes from."""
    scan = open_scan(path)
    geometry = scan_geometry(scan)
    level = scan_noise(scan, geometry, scan.mask, **given)
    return level.of(slice(None), geometry.reduce(scan.read(slice(None)))), level.source


def test_precedence(make_scan):
    path = make_scan(slices=3, noise=0.05, noise_sigma=np.array([1e-7, 2e-7, 3e-7]))
    sigma, source = levels(path, sigma=4e-7, relative=0.2)
    assert (sigma.tolist(), source) == ([4e-7] * 3, "option")
    assert levels(path, relative=0.2)[1] == "relative"
    sigma, source = levels(path)
    assert (sigma.tolist(), source) == ([1e-7, 2e-7, 3e-7], "file")
    assert levels(make_scan("bare.h5", slices=3, noise=0.05))[1] == "estimate"


def test_a_level_of_zero_is_a_level(make_scan):
    path = make_scan(noise=0.05, noise_sigma=1e-7)
    for given, source in (({"sigma": 0.0}, "option"), ({"relative": 0.0}, "relative")):
        sigma, named = levels(path, **given)
        assert (sigma.tolist(), named) == ([0, 0], source)
    assert levels(make_scan("zero.h5", noise=0.05, noise_sigma=0.0)) == (pytest.approx([0, 0]), "file")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_estimate_is_one_level_in_the_units_of_the_file(make_scan, scale):
    sigma, _ = levels(make_scan(slices=4, size=128, scale=scale, noise=0.1))
    assert sigma.shape == (4,)
    assert np.ptp(sigma) == 0
    assert sigma[0] == pytest.approx(0.1 * scale, rel=0.05)


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_estimate_of_weak_noise(make_scan, noise):
    """Of undersampled data too; 0.005 of the maximum is about 0.02 of the RMS."""
    for columns in (None, column_mask(128, 4, 0.08, "random", "scan.h5")):
        sigma, _ = levels(make_scan(slices=4, size=128, scale=1.0, noise=noise, mask=columns))
        assert sigma == pytest.approx([noise] * 4, rel=0.1)


@pytest.mark.parametrize("relative", [0.2, 1.0])
@pytest.mark.parametrize("acceleration", [1, 4, 8])
def test_relative_is_of_the_noise_free_slice(make_scan, head_kspace, relative, acceleration):
    clean = torch.from_numpy(head_kspace(3, 128))
    true = relative * rms(clean)
    noisy = clean + complex_noise(tuple(clean.shape), true[:, None, None], torch.Generator().manual_seed(0))
    mask = np.ones(128, bool)
    if acceleration > 1:
        mask = column_mask(128, acceleration, 0.32 / acceleration, "random", "scan.h5")
    scan = open_scan(make_scan(slices=3, size=128, mask=mask))
    level = scan_noise(scan, scan_geometry(scan), scan.mask, relative=relative)
    sigma = level.of(slice(None), noisy.numpy()[:, None])  # bins that the mask leaves out do not count
    # What signal the mask leaves out makes it a little too low.
    assert sigma == pytest.approx(true.numpy(), rel=0.02 if acceleration == 1 else 0.2)
