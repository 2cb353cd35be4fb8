import numpy as np
import pytest

from mri_iahvae.evaluation.mismatch import Mismatch


@pytest.fixture
def heads(head_kspace):
    """Magnitudes (2, 32, 32), float64."""
    bins = head_kspace(2, 32)
    return np.abs(np.fft.fftshift(np.fft.ifft2(bins, norm="ortho"), (1, 2))).astype(np.float64)


def text(target, image):
    found = Mismatch()
    for one, other in zip(target, image, strict=True):
        found.add(one[None], other[None])
    return found.text()


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0, 1e-12, 1e12])
def test_noise_and_units_that_agree_are_no_mismatch(heads, rng, factor):
    noisy = np.abs(heads + 0.2 * rng.normal(size=heads.shape))
    assert text(factor * heads, factor * noisy) == ""
    assert text(factor * heads, 0 * noisy) == ""


def test_symmetric_images_are_no_mismatch(heads, rng):
    both = heads + heads[..., ::-1]
    assert text(both, both + 0.1 * rng.normal(size=both.shape)) == ""


@pytest.mark.parametrize("factor", [4000.0, 1e-6])
def test_other_units_are_named(heads, factor):
    assert f"{factor:.3g} times as bright" in text(heads, factor * heads)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda x: x[:, ::-1], "with rows in reverse:"),
        (lambda x: x[:, ::-1, ::-1], "with rows in reverse and columns in reverse:"),
        (lambda x: x.swapaxes(1, 2), "with rows and columns exchanged:"),
        (lambda x: np.rot90(x, 1, (1, 2)), "with rows and columns exchanged and"),
    ],
)
def test_turned_images_are_named(heads, rng, turn, words):
    noisy = heads + 0.1 * rng.normal(size=heads.shape)
    assert words in text(heads, turn(noisy))


def test_axes_of_other_lengths_are_never_exchanged(heads):
    target, image = heads[:, 4:28], heads[:, ::-1][:, 4:28]
    assert "rows in reverse:" in text(target, image)
