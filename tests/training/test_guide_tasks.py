"""Random measurements: what is measured, with how much noise, of which truth."""

import torch

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise import rms
from mri_iahvae.training.guide_tasks import random_measurements
from mri_iahvae.training.shard import Shard


def drawn(count=96, size=(32, 24), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, *size, generator=torch.Generator().manual_seed(1)) + 0.5
    return image, random_measurements(image, generator)


def test_the_truth_has_the_magnitude_of_the_image():
    image, found = drawn()
    torch.testing.assert_close(ifft2c(found.truth).abs(), image, rtol=1e-4, atol=1e-5)
    assert ifft2c(found.truth).angle().std() > 0.5


def test_noise_is_as_strong_as_said():
    """Over all bins, measured or not: complex noise of that deviation per part."""
    _, found = drawn()
    noise = (found.kspace - found.truth).abs().square().mean(dim=(1, 2)).div(2).sqrt()
    known = found.sigma > 0
    assert 0.2 < known.float().mean() < 0.7
    torch.testing.assert_close(noise[known], found.sigma[known], rtol=0.1, atol=0)
    relative = noise / rms(found.truth)
    assert (relative[known] > 0.02).all()
    assert (relative[known] < 1.7).all()
    assert (relative[~known] < 0.02).all()


def test_masks_of_every_kind_are_drawn():
    _, found = drawn(count=400)
    mask = found.mask
    full = mask.flatten(1).all(1)
    columns = (mask == mask[:, :1]).flatten(1).all(1) & ~full
    rows = (mask == mask[:, :, :1]).flatten(1).all(1) & ~full
    other = ~(full | columns | rows)
    for kind, low, high in ((full, 0.2, 0.4), (columns, 0.2, 0.4), (rows, 0.01, 0.12), (other, 0.2, 0.5)):
        assert low < kind.float().mean() < high
    assert mask.flatten(1).any(1).all()
    fraction = mask[~full].float().mean(dim=(1, 2))
    assert fraction.min() < 0.15
    assert fraction.max() > 0.4


def test_a_part_of_a_batch_is_measured_as_in_the_whole():
    image, whole = drawn(8)
    for rank in (0, 1):
        generator = torch.Generator().manual_seed(0)
        part = random_measurements(image[rank::2], generator, Shard(8, rank, 2))
        for a, b in zip(part, whole, strict=True):
            torch.testing.assert_close(a, b[rank::2])
