"""Shifts: a phase ramp in k-space is a cyclic shift of the image."""

import pytest
import torch

from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.shifts import SHIFTS, shift_ramps


@pytest.mark.parametrize("size", [16, 15])
def test_a_ramp_shifts_the_image(size):
    noise = torch.Generator().manual_seed(0)
    image = torch.randn(size, size, dtype=torch.complex64, generator=noise)
    for ramp, (rows, columns) in zip(shift_ramps(8, size), SHIFTS, strict=True):
        shifted = ifft2c(fft2c(image) * ramp)
        torch.testing.assert_close(shifted, image.roll((rows, columns), (0, 1)), atol=1e-5, rtol=0)
        torch.testing.assert_close(fft2c(image) * ramp * ramp.conj(), fft2c(image))
        assert ramp[size // 2, size // 2] == 1


def test_the_unshifted_slice_comes_first_and_no_shift_twice():
    assert torch.equal(shift_ramps(1, 8)[0], torch.ones(8, 8, dtype=torch.complex64))
    assert len({(rows % 4, columns % 4) for rows, columns in SHIFTS}) == len(SHIFTS)


def test_ramps_are_made_where_they_are_needed():
    assert shift_ramps(2, 8, torch.device("meta")).device.type == "meta"
