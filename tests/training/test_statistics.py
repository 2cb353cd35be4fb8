from dataclasses import replace

import pytest
import torch

from mri_iahvae.kspace.bands import block_mask, crop, scales
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.presets import preset
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.statistics import canonical_batch, grow, measure


@pytest.mark.parametrize("size", [16, 32])
def test_canonical_batches_have_the_cores_energy_and_real_dc(blobs, size):
    canonical = canonical_batch(blobs, size)
    assert canonical.shape == (8, size, size)
    energy = canonical.abs().square()[:, block_mask(8, size)].sum(1)
    torch.testing.assert_close(energy, torch.full((8,), float(size**2)))
    dc = canonical[:, size // 2, size // 2]
    assert (dc.real > 0).all()
    assert dc.imag.abs().max() < 1e-4 * dc.real.max()
    torch.testing.assert_close(canonical, canonical_batch(blobs * (2 - 3j), size), rtol=1e-4, atol=1e-4)
    ratio = canonical / crop(blobs, size)
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-3, atol=0)


def test_gains_of_white_noise_are_its_rms(noise):
    gains = measure(complex_noise((400, 32, 32), 0.5, noise), preset("tiny")).gains
    # Two parts of sigma 0.5: RMS sqrt(1/2); fewer bins, larger deviation.
    for s, gain in zip(scales(32), gains, strict=True):
        assert gain == pytest.approx(0.5**0.5, rel=0.12 / s + 0.005)


def test_gains_belong_to_their_band():
    kspace = torch.zeros(2, 32, 32, dtype=torch.complex64)
    for k, s in reversed(list(enumerate(scales(32)))):
        kspace[:, block_mask(s, 32)] = k + 1.0j * (k + 1)
    expected = [(k**2 + (k + 1) ** 2) ** 0.5 for k in range(6)]
    assert measure(kspace, preset("tiny")).gains == pytest.approx(expected)
    known = measure(kspace, replace(preset("tiny"), gains=(7.0, 8.0))).gains  # are kept
    assert known == pytest.approx([7.0, 8.0, *expected[2:]])


def test_gains_are_those_of_the_decompositions_scales():
    """Images that change from pixel to pixel along rows: all but the mean is in the last scale of Haar wavelets."""
    image = torch.ones(1, 32, 32, dtype=torch.complex64)
    image[..., ::2] = 3.0
    found = measure(fft2c(image), replace(preset("tiny"), decomposition="rotations")).gains
    assert found == pytest.approx([2.0 * 32, 0, 0, 0, 0, 32 / (32**2 - 16**2) ** 0.5], abs=1e-4)
    assert measure(fft2c(image), preset("tiny")).gains == pytest.approx(found, abs=1e-4)  # at Nyquist, too


@pytest.mark.parametrize("size", [16, 32])
def test_core_power_sums_to_n_squared(blobs, size):
    canonical = canonical_batch(blobs, size)
    core = torch.tensor(measure(canonical, preset("tiny").coarse(size)).core_power)
    assert core.sum().item() == pytest.approx(size**2, rel=1e-4)
    torch.testing.assert_close(core, crop(canonical, 8).abs().square().mean(0))


@pytest.mark.parametrize("coarse", [8, 16])
@torch.no_grad()
def test_growing_leaves_the_coarse_bands_unchanged(make_model, blobs, config, coarse):
    small, ratio = make_model(coarse), 32 // coarse
    grown = grow(small, config, sigma=0.13)
    assert grown.size == 32
    assert grown.config.sigma == pytest.approx(0.13 * ratio)
    assert grown.config.gains == pytest.approx([ratio * g for g in small.config.gains])
    for seed in (None, 4):
        generators = [seed and torch.Generator().manual_seed(seed) for _ in range(2)]
        before = posterior_pass(small, canonical_batch(blobs, coarse), generators[0])
        after = posterior_pass(grown, canonical_batch(blobs, 32), generators[1])
        was, now = ifft2c(before.bins), ifft2c(crop(after.bins, coarse)) / ratio
        assert (was - now).abs().max() < 2e-5 * was.abs().max()  # real noise in float32 alone: the FFT's
        kept = len(before.kl)
        torch.testing.assert_close(after.kl[:kept], before.kl, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(after.error[:kept], ratio**2 * before.error, rtol=1e-3, atol=1e-3)
        assert (after.error[kept:] > 0).all()
