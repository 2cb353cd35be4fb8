import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.scales import parse_scale, scales


def test_scales_are_the_powers_of_two_up_to_the_grid():
    assert scales(1) == (1,)
    assert scales(128) == (1, 2, 4, 8, 16, 32, 64, 128)


@pytest.mark.parametrize("size", [0, -4, 3, 12, 127])
def test_a_grid_that_is_no_power_of_two_is_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        scales(size)


@pytest.mark.parametrize(("text", "scale"), [("1x1", 1), ("8x8", 8), ("8", 8), (" 128X128 ", 128)])
def test_parse_scale(text, scale):
    assert parse_scale(text, 128) == scale


@pytest.mark.parametrize(
    "text", ["7x9", "8x16", "12x12", "0x0", "256x256", "12", "8x", "8x8x8", "-8x-8", "8.0x8.0", "", "all"]
)
def test_parse_scale_says_what_is_possible(text):
    with pytest.raises(UsageError, match=r"1x1, 2x2, .*, 128x128 on this model's 128x128 grid"):
        parse_scale(text, 128)
