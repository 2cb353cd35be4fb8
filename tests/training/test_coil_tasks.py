"""Random measurements by several coils: what the coils see, and what the guide is to find."""

import torch

from mri_iahvae.kspace.coils import rss
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.training.coil_tasks import random_coil_measurements, random_sensitivities
from mri_iahvae.training.shard import Shard


def drawn(count=6, size=(40, 32), seed=0):
    image = torch.rand(count, *size, generator=torch.Generator().manual_seed(1)) + 0.5
    return image, random_coil_measurements(image, torch.Generator().manual_seed(seed))


def test_sensitivities_are_smooth_and_their_squares_sum_to_one(noise):
    maps = random_sensitivities(7, (48, 36), noise)
    assert maps.shape == (7, 48, 36)
    torch.testing.assert_close(rss(maps[None]), torch.ones(1, 48, 36))
    assert (maps[:, 1:] - maps[:, :-1]).abs().max() < 0.2
    assert maps.abs().std(dim=(1, 2)).min() > 0.02


def test_the_truth_combines_to_the_magnitude_of_the_image():
    """Up to what sensitivities from a small calibration region leave out."""
    image, found = drawn()
    magnitude = ifft2c(found.combined.truth).abs()
    assert (magnitude <= image * 1.001).all()
    assert ((magnitude / image).mean(dim=(1, 2)) > 0.9).all()


def test_bins_are_measured_where_the_mask_says_with_the_stated_noise():
    for seed in range(3):
        _, (kspace, sense, one) = drawn(seed=seed)
        assert 2 <= kspace.shape[1] <= 12
        measured = one.mask[:, None].expand(kspace.shape)
        assert not kspace[~measured].any()
        assert one.mask[:, 18:22, 14:18].all()  # sensitivities need a centre
        torch.testing.assert_close(one.kspace, fft2c(sense.adjoint(kspace)))
        # Where the coils' images are not what the sensitivities make of the truth, there is noise.
        left = kspace - sense.forward(ifft2c(one.truth))
        level = left.abs().square().sum(dim=(1, 2, 3)) / (2 * measured.sum(dim=(1, 2, 3)))
        stated = one.sigma > 0
        assert (level[stated].sqrt() > 0.8 * one.sigma[stated]).all()


def test_a_part_of_a_batch_is_measured_as_in_the_whole():
    image, whole = drawn(4)
    for rank in (0, 1):
        part = random_coil_measurements(image[rank::2], torch.Generator().manual_seed(0), Shard(4, rank, 2))
        torch.testing.assert_close(part.kspace, whole.kspace[rank::2])
        for a, b in zip(part.combined, whole.combined, strict=True):
            torch.testing.assert_close(a, b[rank::2])
