import math

import pytest
import torch

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.training.augment import _contrast, _flip_and_turn, _resample, augment


def resample(kspace, zoom=1.0, aspect=1.0, shift=(0.0, 0.0)):
    count = len(kspace)
    offsets = torch.tensor(shift)[:, None].expand(2, count)
    return _resample(kspace, torch.full((count,), zoom), torch.full((count,), aspect), offsets)


def test_augmentation_depends_on_the_seed_alone(blobs):
    first = augment(blobs, torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    assert torch.equal(first, augment(blobs, torch.Generator().manual_seed(1)))
    change = (augment(blobs, torch.Generator().manual_seed(2)) - first).abs().square().sum(dim=(1, 2))
    assert (change > 0.01 * first.abs().square().sum(dim=(1, 2))).all()


def test_slices_that_are_not_resampled_are_turned_and_given_phase_and_noise_alone(blobs):
    """Within the noise, 0.7 % of the RMS per part at most, each is one of its eight symmetries in magnitude."""

    def distances(resampled):
        out = ifft2c(augment(blobs, torch.Generator().manual_seed(3), resampled=resampled)).abs()
        image, number = ifft2c(blobs), torch.ones(len(blobs), dtype=torch.int64)
        turned = torch.stack([_flip_and_turn(image, k * number).abs() for k in range(8)])
        nearest = (turned - out).square().sum(dim=(2, 3)).amin(0)
        return nearest / blobs.abs().square().sum(dim=(1, 2))

    assert (distances(0.0) < 2 * 0.007**2).all()
    assert (distances(1.0) > 2 * 0.007**2).all()


def test_an_empty_slice_stays_finite(noise):
    assert augment(torch.zeros(2, 16, 16, dtype=torch.complex64), noise).isfinite().all()


@pytest.mark.parametrize("shift", [(3, 0), (0, -5), (4, 2)])
def test_whole_shifts_roll_the_image_and_empty_what_enters(blobs, shift):
    image = ifft2c(1e5 * blobs)
    shifted = resample(1e5 * blobs, shift=tuple(map(float, shift)))
    rolled = torch.roll(image, shift, dims=(1, 2))
    where = torch.arange(32) - 16
    inside = [(where - offset).abs() < 16 for offset in shift]
    outside = [(where - offset).abs() > 16 for offset in shift]
    both = inside[0][:, None] & inside[1]
    torch.testing.assert_close(shifted[:, both], rolled[:, both], rtol=1e-3, atol=1e-3)
    assert shifted[:, outside[0]].abs().sum() == 0
    assert shifted[:, :, outside[1]].abs().sum() == 0


def test_zoom_and_aspect_are_exact_on_plane_waves():
    """x -> exp(2 pi i k x / n) sampled at x / zoom, rows by zoom * aspect, columns by zoom / aspect."""
    n, (ky, kx), zoom, aspect, shift = 32, (3, -5), 0.8, 1.1, (1.3, -0.4)
    kspace = torch.zeros(1, n, n, dtype=torch.complex64)
    kspace[0, n // 2 + ky, n // 2 + kx] = n
    y = (torch.arange(n, dtype=torch.float64) - n // 2)[:, None]
    x = y.T
    y, x = (y - shift[0]) / (zoom * aspect), (x - shift[1]) / (zoom / aspect)
    inside = (y.abs() < n / 2) & (x.abs() < n / 2)
    wave = torch.polar(torch.ones_like(y * x), 2 * math.pi * (ky * y + kx * x) / n)
    expected = torch.where(inside, wave, 0).to(torch.complex64)
    found = resample(kspace, zoom, aspect, shift)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert 0.4 < inside.float().mean() < 0.9


def test_the_eight_symmetries():
    image = torch.arange(9.0).reshape(1, 3, 3).expand(8, 3, 3)
    turned = _flip_and_turn(image, torch.arange(8))
    kinds = {tuple(slice_.flatten().tolist()) for slice_ in turned}
    both = torch.stack([image[0], image[0].T])
    expected = {tuple(one.flatten().tolist()) for k in range(4) for one in torch.rot90(both, k, (1, 2))}
    assert kinds == expected
    assert len(kinds) == 8


def test_contrast_keeps_phase_and_zeros(blobs):
    image = ifft2c(blobs)
    image[:, :4] = 0
    one, zero = torch.ones(8), torch.zeros(8)
    torch.testing.assert_close(_contrast(image, one, zero, one, zero), image)
    curved = _contrast(image, 1.3 * one, 0.5 * one, one, zero)
    assert curved[:, :4].abs().max() == 0
    level = image.abs() / image.abs().amax(dim=(1, 2), keepdim=True)
    strong = level > 1e-3
    assert (curved / image)[strong].imag.abs().max() < 1e-4
    expected = level**0.3 * (1 + 0.5 * torch.sin(2 * math.pi * level))
    torch.testing.assert_close((curved / image)[strong].real, expected[strong], rtol=1e-3, atol=1e-4)
