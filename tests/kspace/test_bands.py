import pytest
import torch

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, join, recentre, scales, split

SIZES = [1, 2, 4, 8, 32]


def random_kspace(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_bands_hold_every_bin_of_a_block_exactly_once(size):
    for s in scales(size):
        count = sum(embed(band_mask(t).int(), size) for t in scales(s))
        assert torch.equal(count, block_mask(s, size).int())
    assert block_mask(size, size).all()


@pytest.mark.parametrize("size", SIZES)
def test_join_inverts_split(size):
    kspace = random_kspace(3, size, size)
    assert torch.equal(join(split(kspace)), kspace)
    coarse = split(kspace)[: len(scales(size)) // 2 + 1]
    assert torch.equal(join(coarse), crop(kspace, scales(size)[len(coarse) - 1]))


@pytest.mark.parametrize(
    ("large", "small"), [((9, 8), (4, 4)), ((9, 7), (8, 3)), ((64, 37), (37, 37)), ((8, 8), (7, 5))]
)
def test_embed_is_the_adjoint_and_right_inverse_of_crop(large, small):
    x, y = random_kspace(*large, seed=1), random_kspace(*small, seed=2)
    cropped, embedded = crop(x, *small), embed(y, *large)
    torch.testing.assert_close((y.conj() * cropped).sum(), (embedded.conj() * x).sum())
    assert torch.equal(crop(embedded, *small), y)
    assert cropped[small[0] // 2, small[1] // 2] == x[large[0] // 2, large[1] // 2]


@pytest.mark.parametrize("size", [(4, 5), (12, 13), (4, 13), (12, 5), (9, 8)])
def test_recentre_crops_or_pads_each_axis_about_dc(size):
    kspace = random_kspace(2, 9, 8)
    found = recentre(kspace, *size)
    larger = embed(kspace, max(9, size[0]), max(8, size[1]))
    assert torch.equal(found, crop(larger, *size))
    assert torch.equal(found[:, size[0] // 2, size[1] // 2], kspace[:, 4, 4])


def test_bands_first_asked_for_in_validation_serve_training():
    """They are kept: what inference mode made, autograd would refuse."""
    band_mask.cache_clear()
    with torch.inference_mode():
        band_mask(4)
    values = torch.ones(4, 4, requires_grad=True)
    (values * values * band_mask(4)).sum().backward()
    assert torch.equal(values.grad, 2.0 * band_mask(4))
