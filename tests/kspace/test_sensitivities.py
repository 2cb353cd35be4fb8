"""Sensitivities from the calibration region, and the virtual coil."""

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import recentre
from mri_iahvae.kspace.coils import virtual_coil
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.sensitivities import calibrate, calibration_region


def columns(height, width, centre):
    """Bool (H, W): every fourth column, and the central ones."""
    mask = (torch.arange(width) - width // 2) % 4 == 0
    mask[width // 2 - centre // 2 : width // 2 - centre // 2 + centre] = True
    return mask.expand(height, width)


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


def test_an_uneven_centre_counts_up_to_its_nearer_end():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:, 10:19] = True  # six before DC, two after
    assert calibration_region(mask) == (32, 6)


def test_too_few_lines_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"at least 4x4 .* the mask has 32x3: .*--center-fraction") as error:
        calibration_region(columns(64, 63, 3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 75), (63, 80)])
@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_true_sensitivities_are_found(coil_maps, head_kspace, height, width, scale):
    image = ifft2c(recentre(torch.from_numpy(head_kspace(2, 64)), height, width))
    maps = torch.from_numpy(coil_maps(6, height, width))
    kspace = scale * fft2c(maps * image[:, None])
    coils = calibrate(
        torch.where(columns(height, width, 16), kspace, 0), columns(height, width, 16), torch.zeros(2)
    )
    # Up to the phase that all coils share, where there is signal.
    agreement = (coils.sensitivities.conj() * maps).sum(dim=1).abs()
    energy = image.abs().square()
    wrong = ((1 - agreement.square()) * energy).sum() / energy.sum()
    assert wrong < 2e-3
    torch.testing.assert_close(coils.sensitivities.abs().square().sum(dim=1), torch.ones(2, height, width))
    seen = (coils.eigenvalue * energy).sum() / energy.sum()
    assert 0.98 < seen < 1.01


def test_the_virtual_coil_sees_the_combined_image(coil_maps, head_kspace):
    image = ifft2c(torch.from_numpy(head_kspace(2, 64)))
    maps = torch.from_numpy(coil_maps(6, 64, 64))
    coils = calibrate(fft2c(maps * image[:, None]), torch.ones(64, 64, dtype=torch.bool), torch.zeros(2))
    seen = virtual_coil(maps * image[:, None], coils.weights)
    whole = (coils.sensitivities.conj() * maps).sum(dim=1) * image
    error = (seen - whole).abs().square().sum() / whole.abs().square().sum()
    assert error < 0.05  # constant weights cannot make ring coils even
    assert error > 0


def test_strong_noise_is_not_taken_for_signal(coil_maps, head_kspace):
    image = ifft2c(torch.from_numpy(head_kspace(1, 64)))
    maps, mask = torch.from_numpy(coil_maps(6, 64, 64)), torch.ones(64, 64, dtype=torch.bool)
    sigma = 0.3 * image.abs().square().mean().sqrt()
    noise = complex_noise((1, 6, 64, 64), float(sigma), torch.Generator().manual_seed(0))
    kspace, energy = fft2c(maps * image[:, None]) + noise, image.abs().square()

    def wrong(level):
        found = calibrate(kspace, mask, level).sensitivities
        agreement = (found.conj() * maps).sum(dim=1).abs().square()
        return float(((1 - agreement) * energy).sum() / energy.sum())

    assert wrong(sigma[None]) < 0.01
    assert wrong(torch.zeros(1)) > 5 * wrong(sigma[None])


def test_slices_are_independent(coil_maps, head_kspace):
    maps = torch.from_numpy(coil_maps(4, 32, 32))
    kspace = maps * torch.from_numpy(head_kspace(2, 32))[:, None]
    mask = torch.ones(32, 32, dtype=torch.bool)
    both, alone = calibrate(kspace, mask, torch.zeros(2)), calibrate(kspace[1:], mask, torch.zeros(1))
    torch.testing.assert_close(both.sensitivities[1:], alone.sensitivities, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(both.weights[1:], alone.weights, rtol=1e-3, atol=1e-3)


def test_a_silent_slice_gives_finite_numbers():
    silent, mask = torch.zeros(1, 3, 32, 32, dtype=torch.complex64), torch.ones(32, 32, dtype=torch.bool)
    coils = calibrate(silent, mask, torch.zeros(1))
    assert coils.sensitivities.isfinite().all()
    assert coils.weights.isfinite().all()
