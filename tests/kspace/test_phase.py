import math

import pytest
import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.phase import smooth_phase


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit_images(phase):
    return torch.polar(torch.ones_like(phase), phase)


def test_the_generator_decides():
    first = smooth_phase(2, (32, 32), generator(1))
    assert torch.equal(first, smooth_phase(2, (32, 32), generator(1)))
    assert not torch.equal(first, smooth_phase(2, (32, 32), generator(2)))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.0])
def test_strength_is_the_standard_deviation_of_the_field(strength):
    phase = smooth_phase(400, (48, 48), generator(), strength=strength, shift=0.0)
    field = phase - phase.mean(dim=(1, 2), keepdim=True)
    assert field.std() == pytest.approx(strength, rel=0.08)


def test_amplitudes_of_the_waves_fall_with_their_frequency():
    """Half waves of orders i and j along the axes: standard deviations in proportion to 1 / (1 + i^2 + j^2)."""
    field = smooth_phase(2000, (16, 20), generator(), shift=0.0).double()
    order = torch.arange(5)
    rows, columns = (torch.cos(math.pi * torch.linspace(0, 1, n).double()[:, None] * order) for n in (16, 20))
    waves = torch.linalg.pinv(rows) @ field @ torch.linalg.pinv(columns).mT
    torch.testing.assert_close(rows @ waves @ columns.mT, field, rtol=0, atol=1e-4)
    found = waves.std(dim=0).flatten()[1:]  # without the offset
    expected = (1 / (1 + order[:, None].square() + order.square())).double().flatten()[1:]
    torch.testing.assert_close(found / found[0], expected / expected[0], rtol=0.12, atol=0)


def test_the_offset_covers_the_circle():
    offset = smooth_phase(400, (4, 4), generator(), strength=0.0, shift=0.0)
    assert torch.equal(offset, offset[:, :1, :1].expand_as(offset))
    assert offset.abs().max() <= math.pi
    counts = torch.histc(offset[:, 0, 0], bins=4, min=-math.pi, max=math.pi)
    assert torch.all(counts > 70)


@pytest.mark.parametrize("shift", [0.0, 1.5, 4.0])
def test_the_ramp_moves_the_peak_by_no_more_than_shift(shift):
    power = fft2c(unit_images(smooth_phase(50, (64, 64), generator(), strength=0.0, shift=shift)))
    peaks = power.abs().square().flatten(1).argmax(dim=1)
    offset = torch.stack((peaks // 64, peaks % 64)) - 32
    assert offset.abs().amax(dim=1).tolist() == [round(shift)] * 2


def test_the_energy_of_a_smooth_object_stays_in_few_bins():
    window = torch.hann_window(64)  # nothing at the border, so nothing wraps around
    kspace = fft2c(window[:, None] * window * unit_images(smooth_phase(50, (64, 64), generator())))
    energy = kspace.abs().square().sum(dim=(1, 2))
    for bins, fraction in ((8, 0.97), (16, 0.9999)):
        assert torch.all(crop(kspace, bins).abs().square().sum(dim=(1, 2)) > fraction * energy)
