"""Sensitivities from the calibration region, and the virtual coil."""

import math

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import recentre
from mri_iahvae.kspace.coils import virtual_coil
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.sensitivities import _espirit, calibrate, calibration_region, known_coils


def columns(height, width, centre):
    """Bool (H, W): every fourth column, and the central ones."""
    mask = (torch.arange(width) - width // 2) % 4 == 0
    mask[width // 2 - centre // 2 : width // 2 - centre // 2 + centre] = True
    return mask.expand(height, width)


def wrong(coils, maps, image):
    """Fraction of an image's energy that sensitivities miss, whatever the common phase of all coils."""
    agreement = (coils.sensitivities.conj() * maps).sum(dim=1).abs().square()
    energy = image.abs().square()
    return float(((1 - agreement) * energy).sum() / energy.sum())


def seen(coils, image):
    """Mean eigenvalue where there is signal."""
    energy = image.abs().square()
    return float((coils.eigenvalue * energy).sum() / energy.sum())


@pytest.mark.parametrize(
    ("height", "width", "centre", "expected"),
    [(64, 64, 10, (32, 10)), (64, 63, 9, (32, 9)), (20, 64, 40, (20, 32)), (64, 64, 64, (32, 32))],
)
def test_region_of_columns(height, width, centre, expected):
    first = width // 2 - centre // 2
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[:, first : first + centre] = True
    mask[:, first + centre + 1 :: 3] = True
    assert calibration_region(mask) == expected


def test_region_of_single_bins():
    mask = torch.zeros(40, 50, dtype=torch.bool)
    mask[14:26, 20:30] = True  # 12 rows about 20, 10 columns about 25
    mask[::3, ::3] = True
    assert calibration_region(mask) == (12, 10)
    mask[:] = False
    mask[:, 19:28] = True  # six before DC, two after: up to the nearer end
    assert calibration_region(mask) == (32, 6)


def test_a_region_that_is_too_narrow_does_not_hide_a_smaller_one():
    mask = columns(64, 64, 3).clone()
    mask[29:35, 29:35] = True  # fewer bins than 32 x 3
    assert calibration_region(mask) == (6, 6)


def test_too_few_lines_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"at least 4x4 .* the mask has 32x3: .*--center-fraction") as error:
        calibration_region(columns(64, 63, 3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 75), (63, 80)])
@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_true_sensitivities_are_found(coil_maps, head_kspace, height, width, scale):
    image = ifft2c(recentre(torch.from_numpy(head_kspace(2, 64)), height, width))
    maps = torch.from_numpy(coil_maps(6, height, width))
    kspace, mask = scale * fft2c(maps * image[:, None]), columns(height, width, 16)
    coils = calibrate(torch.where(mask, kspace, 0), mask, torch.zeros(2))
    assert wrong(coils, maps, image) < 2e-3
    torch.testing.assert_close(coils.sensitivities.abs().square().sum(dim=1), torch.ones(2, height, width))
    assert 0.98 < seen(coils, image) < 1.01


def test_the_virtual_coil_sees_the_combined_image(coil_maps, head_kspace):
    image = ifft2c(torch.from_numpy(head_kspace(2, 64)))
    maps = torch.from_numpy(coil_maps(6, 64, 64))
    coils = calibrate(fft2c(maps * image[:, None]), torch.ones(64, 64, dtype=torch.bool), torch.zeros(2))
    virtual = virtual_coil(maps * image[:, None], coils.weights)
    whole = (coils.sensitivities.conj() * maps).sum(dim=1) * image
    error = (virtual - whole).abs().square().sum() / whole.abs().square().sum()
    assert 0 < error < 0.05  # constant weights cannot make ring coils even


def test_strong_noise_is_not_taken_for_signal(coil_maps, head_kspace):
    image = ifft2c(torch.from_numpy(head_kspace(1, 64)))
    maps, mask = torch.from_numpy(coil_maps(6, 64, 64)), torch.ones(64, 64, dtype=torch.bool)
    sigma = 0.3 * image.abs().square().mean().sqrt()
    noise = complex_noise((1, 6, 64, 64), float(sigma), torch.Generator().manual_seed(0))
    kspace = fft2c(maps * image[:, None]) + noise
    known, unknown = (
        wrong(calibrate(kspace, mask, level), maps, image) for level in (sigma[None], torch.zeros(1))
    )
    assert known < 0.01
    assert unknown > 5 * known


@pytest.mark.parametrize("axis", [0, 1])
def test_few_lines_along_one_axis_still_tell_the_sensitivities(coil_maps, head_kspace, axis):
    """Patches of 5 x 3 bins."""
    image = ifft2c(torch.from_numpy(head_kspace(2, 64)))
    maps = torch.from_numpy(coil_maps(6, 64, 64))
    mask = columns(64, 64, 6) if axis else columns(64, 64, 6).T
    coils = calibrate(fft2c(maps * image[:, None]), mask, torch.zeros(2))
    assert wrong(coils, maps, image) < 0.02
    assert 0.98 < seen(coils, image) < 1.02


def points(*strengths):
    """Calibration region (1, 3, 16, 12) of points eight pixels apart on a 32 x 32 grid, seen equally by all coils."""
    row, column = torch.arange(16) - 8, torch.arange(12) - 6
    waves = [
        strength * torch.polar(torch.ones(16, 12), 2 * math.pi * 8 * number * (row[:, None] + column) / 32)
        for number, strength in enumerate(strengths)
    ]
    return torch.stack(waves).sum(dim=0).expand(1, 3, -1, -1)


def eigenvalues_at_points(region, sigma):
    """Of the first and the second point."""
    _, eigenvalue = _espirit(region, torch.tensor([sigma]), (32, 32))
    return [float(eigenvalue[0, 16 - shift, 16 - shift]) for shift in (0, 8)]


@pytest.mark.parametrize(("strength", "expected"), [(0.01, 0.0), (0.02, 1.0)])
def test_what_is_far_weaker_than_the_strongest_counts_for_nothing(strength, expected):
    assert eigenvalues_at_points(points(1.0, strength), 0.0) == pytest.approx([1.0, expected], abs=0.1)


@pytest.mark.parametrize(("factor", "expected"), [(0.97, 0.0), (1.03, 1.0)])
def test_what_stands_out_of_the_noise_tells_something(factor, expected):
    """By the largest singular value of white noise in patches of 5 x 5 bins of 3 coils at 12 x 8 places."""
    patches, size = 12 * 8, 3 * 25
    edge = 2**0.5 * (patches**0.5 + size**0.5)
    found = eigenvalues_at_points(points(factor * edge / (patches * size) ** 0.5), 1.0)
    assert found == pytest.approx([expected, 0.0], abs=0.1)


def test_slices_are_independent(coil_maps, head_kspace):
    maps = torch.from_numpy(coil_maps(4, 32, 32))
    kspace = maps * torch.from_numpy(head_kspace(2, 32))[:, None]
    mask = torch.ones(32, 32, dtype=torch.bool)
    both, alone = calibrate(kspace, mask, torch.zeros(2)), calibrate(kspace[1:], mask, torch.zeros(1))
    torch.testing.assert_close(both.sensitivities[1:], alone.sensitivities, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(both.weights[1:], alone.weights, rtol=1e-3, atol=1e-3)


def test_known_sensitivities_are_scaled_and_keep_their_phase(coil_maps, noise):
    """Whatever their scale is from pixel to pixel; where they are zero they stay so."""
    maps = torch.from_numpy(coil_maps(3, 20, 24))[None]
    image = complex_noise((1, 20, 24), 1.0, noise)
    kspace = fft2c(maps * image[:, None])
    scaled = 1e3 * (1 + torch.rand(20, 24, generator=noise)) * maps
    scaled[..., :4] = 0
    found = known_coils(scaled, kspace)
    torch.testing.assert_close(found.sensitivities[..., 4:], maps[..., 4:])
    assert not found.sensitivities[..., :4].any()
    assert torch.equal(found.eigenvalue[0, 0] > 0, torch.arange(24) >= 4)
    whole = known_coils(maps, 1e-6 * kspace)  # the virtual coil is the one of least distance
    best = virtual_coil(maps * image[:, None], whole.weights)
    for change in 0.05 * torch.eye(3):
        other = virtual_coil(maps * image[:, None], whole.weights + change)
        assert torch.linalg.vector_norm(best - image) < torch.linalg.vector_norm(other - image)
