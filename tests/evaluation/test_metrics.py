import math

import numpy as np
import pytest

from mri_iahvae.evaluation.metrics import RunningScores, crop_pair, score

GOLDEN = (0.0063537814, 26.526809, 0.97803941)
"""NMSE, PSNR and SSIM of `test_golden_numbers`, made once by fastmri.evaluate."""


def volume():
    """(2, 16, 16) without random numbers, so that the golden scores hold for any version of NumPy."""
    z, y, x = np.mgrid[:2, :16, :16]
    return (np.sin(0.3 * x + z) ** 2 + 0.5 * np.cos(0.2 * y) ** 2).astype(np.float32)


def test_golden_numbers():
    target = volume()
    image = target + 0.1 * np.sin(np.arange(512)).reshape(2, 16, 16).astype(np.float32)
    scores = score(target, image)
    difference, squares = (image - target).astype(float), target.astype(float)
    assert scores.nmse == pytest.approx((difference**2).sum() / (squares**2).sum(), rel=1e-5)
    assert scores.psnr == pytest.approx(10 * np.log10(squares.max() ** 2 / (difference**2).mean()), rel=1e-6)
    assert scores.nmse == pytest.approx(GOLDEN[0], rel=1e-5)
    assert scores.psnr == pytest.approx(GOLDEN[1], rel=1e-5)
    assert scores.ssim == pytest.approx(GOLDEN[2], rel=1e-5)


def test_the_data_range_is_the_maximum():
    """Not max - min: an offset raises the range."""
    target = volume() + 1
    image = target + 0.1
    assert score(target, image).psnr == pytest.approx(20 * math.log10(target.max() / 0.1), rel=1e-4)


def test_limits():
    target = volume()
    perfect = score(target, target)
    assert (perfect.nmse, perfect.psnr) == (0, math.inf)
    assert perfect.ssim == pytest.approx(1)
    assert perfect.to_dict() == {"nmse": 0.0, "psnr": None, "ssim": pytest.approx(1)}
    assert score(0 * target, target).to_dict()["nmse"] is None
    with pytest.raises(ValueError, match="one shape"):
        score(target, target[:1])


@pytest.mark.parametrize(("shape", "size"), [((11, 8), (8, 8)), ((8, 8), (8, 8)), ((7, 10), (7, 10))])
def test_pairs_are_cropped_around_their_centres(shape, size):
    """Taller targets to a square; the image may be larger by any number of pixels."""
    target = np.zeros((1, *shape))
    target[0, shape[0] // 2, shape[1] // 2] = 1
    image = np.zeros((1, shape[0] + 6, shape[1] + 4))
    image[0, image.shape[1] // 2, image.shape[2] // 2] = 1
    a, b = crop_pair(target, image)
    assert a.shape == b.shape == (1, *size)
    np.testing.assert_array_equal(a, b)
    assert a.sum() == 1


@pytest.mark.parametrize("groups", [[5], [2, 2, 1]])
def test_running_scores_are_those_of_the_volume(rng, groups):
    target = 1e-5 * rng.random((5, 16, 12)).astype(np.float32)
    image = target + 1e-6 * rng.normal(size=target.shape).astype(np.float32)
    running = RunningScores(float(target.max()))
    start = 0
    for count in groups:
        running.add(target[start : start + count], image[start : start + count])
        start += count
    assert running.scores().to_dict() == pytest.approx(score(target, image).to_dict(), rel=1e-6)
