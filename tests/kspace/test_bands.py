import math

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import (
    band_mask,
    block,
    block_mask,
    crop,
    embed,
    image_at,
    join,
    parse_scale,
    recentre,
    scales,
    split,
)
from mri_iahvae.kspace.fft import fft2c, ifft2c

SIZES = [1, 2, 4, 8, 32]


def random_kspace(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def test_scales_are_the_powers_of_two_up_to_the_grid():
    assert scales(1) == (1,)
    assert scales(128) == (1, 2, 4, 8, 16, 32, 64, 128)


@pytest.mark.parametrize("size", [0, -4, 3, 12, 127])
def test_a_grid_that_is_no_power_of_two_is_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        scales(size)


@pytest.mark.parametrize("size", SIZES)
def test_bands_hold_every_bin_exactly_once(size):
    count = sum(embed(band_mask(s).int(), size) for s in scales(size))
    assert torch.equal(count, torch.ones(size, size, dtype=torch.int32))


@pytest.mark.parametrize("size", SIZES)
def test_block_is_the_union_of_its_bands(size):
    for s in scales(size):
        union = sum(embed(band_mask(t).int(), size) for t in scales(s))
        assert torch.equal(union.bool(), block_mask(s, size))


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 368, 371])
def test_block_is_centred_on_dc(n):
    for s in {1, min(2, n), n // 2 or 1, n}:
        bins = range(n)[block(n, s)]
        assert len(bins) == s
        assert bins[s // 2] == n // 2


@pytest.mark.parametrize("size", SIZES)
def test_join_inverts_split(size):
    kspace = random_kspace(3, size, size)
    assert torch.equal(join(split(kspace)), kspace)


def test_split_inverts_join_and_bands_are_orthogonal():
    bands = [random_kspace(s, s, seed=s) * band_mask(s) for s in scales(16)]
    for before, after in zip(bands, split(join(bands)), strict=True):
        assert torch.equal(before, after)
    energy = sum(band.abs().square().sum() for band in bands)
    torch.testing.assert_close(join(bands).abs().square().sum(), energy)


def test_join_of_the_coarse_bands_is_the_block():
    kspace = random_kspace(16, 16)
    assert torch.equal(join(split(kspace)[:3]), crop(kspace, 4))


def test_images_of_the_bands_add_up_to_the_image():
    image = random_kspace(2, 16, 16)
    parts = [ifft2c(embed(band, 16)) for band in split(fft2c(image))]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), image)


@pytest.mark.parametrize("s", [1, 2, 4, 8, 16])
def test_image_at_samples_the_image_exactly(s):
    """A trigonometric polynomial on the frequencies of B_s, evaluated at N x N and at s x s points."""
    coefficients = random_kspace(s, s)

    def sample(n):
        points = (torch.arange(n) - n // 2).double() / n
        frequencies = (torch.arange(s) - s // 2).double()
        waves = torch.polar(torch.ones(n, s).double(), 2 * math.pi * points[:, None] * frequencies[None])
        return waves @ coefficients @ waves.T

    torch.testing.assert_close(image_at(fft2c(sample(16)), s), sample(s))


def test_image_at_full_size_is_the_image_and_at_one_its_mean():
    image = random_kspace(2, 16, 16)
    torch.testing.assert_close(image_at(fft2c(image), 16), image)
    torch.testing.assert_close(image_at(fft2c(image), 1)[:, 0, 0], image.mean(dim=(1, 2)))


@pytest.mark.parametrize(
    ("large", "small"), [((9, 8), (4, 4)), ((9, 7), (8, 3)), ((64, 37), (37, 37)), ((8, 8), (7, 5))]
)
def test_embed_is_the_adjoint_and_right_inverse_of_crop(large, small):
    x, y = random_kspace(*large, seed=1), random_kspace(*small, seed=2)
    cropped, embedded = crop(x, *small), embed(y, *large)
    torch.testing.assert_close(
        torch.vdot(y.flatten(), cropped.flatten()), torch.vdot(embedded.flatten(), x.flatten())
    )
    assert torch.equal(crop(embedded, *small), y)
    assert cropped[small[0] // 2, small[1] // 2] == x[large[0] // 2, large[1] // 2]


def test_crop_to_a_square_needs_one_number():
    kspace = random_kspace(2, 9, 8)
    assert torch.equal(crop(kspace, 4), crop(kspace, 4, 4))
    assert torch.equal(embed(kspace, 10), embed(kspace, 10, 10))


@pytest.mark.parametrize("size", [(4, 5), (12, 13), (4, 13), (12, 5), (9, 8)])
def test_recentre_crops_or_pads_each_axis_about_dc(size):
    kspace = random_kspace(2, 9, 8)
    found = recentre(kspace, *size)
    larger = embed(kspace, max(9, size[0]), max(8, size[1]))
    assert torch.equal(found, crop(larger, *size))
    assert torch.equal(found[:, size[0] // 2, size[1] // 2], kspace[:, 4, 4])


def test_recentre_to_a_square_needs_one_number():
    kspace = random_kspace(2, 9, 8)
    assert torch.equal(recentre(kspace, 10), recentre(kspace, 10, 10))
    assert torch.equal(recentre(kspace, 9, 8), kspace)


@pytest.mark.parametrize("mask", [band_mask, lambda s, device=None: block_mask(s, 8, device=device)])
def test_masks_are_boolean_and_made_where_they_are_needed(mask):
    for s in (1, 4):
        assert mask(s).dtype == torch.bool
        assert mask(s, torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize(("text", "scale"), [("1x1", 1), ("8x8", 8), ("8", 8), (" 128X128 ", 128)])
def test_parse_scale(text, scale):
    assert parse_scale(text, 128) == scale


@pytest.mark.parametrize(
    "text", ["7x9", "8x16", "12x12", "0x0", "256x256", "12", "8x", "8x8x8", "-8x-8", "8.0x8.0", "", "all"]
)
def test_parse_scale_says_what_is_possible(text):
    with pytest.raises(UsageError, match=r"1x1, 2x2, .*, 128x128 on this model's 128x128 grid"):
        parse_scale(text, 128)


def test_bands_first_asked_for_in_validation_serve_training():
    """They are kept: what inference mode made, autograd would refuse."""
    band_mask.cache_clear()
    with torch.inference_mode():
        band_mask(4)
    values = torch.ones(4, 4, requires_grad=True)
    (values * values * band_mask(4)).sum().backward()
    assert torch.equal(values.grad, 2.0 * band_mask(4))
