from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from mri_iahvae.kspace.bands import crop as crop_kspace
from mri_iahvae.kspace.bands import embed
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.results.gif import CINE_MS, FRAME_MS, LAST_FRAME_MS, cine_gif, scale_gif


def frames(path):
    """Grey values (frames, rows, columns) below the label, labels' strips, and durations in ms."""
    with Image.open(path) as gif:
        shown = [
            (np.asarray(frame.convert("L")), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)
        ]
        assert gif.info["loop"] == 0
    pictures = np.stack([picture for picture, _ in shown])
    return pictures[:, 14:], pictures[:, :14], [duration for _, duration in shown]


def grey(image, white):
    return np.rint(255 * (image / white).clip(0, 1))


@pytest.fixture
def head(head_kspace):
    return head_kspace(2, 32)


def test_every_scale_and_then_all(tmp_path, head):
    """On a 16 x 16 grid, k-space of 32 x 32: five scales and the whole; each frame is what its bins add up to."""
    scale_gif(tmp_path / "a.gif", head[0], 16)
    shown, labels, durations = frames(tmp_path / "a.gif")
    assert shown.shape == (6, 256, 256)  # 32 rows enlarged 8 times
    assert durations == [FRAME_MS] * 5 + [LAST_FRAME_MS]
    kspace = torch.from_numpy(head[0])
    white = float(ifft2c(kspace).abs().max())
    for number, s in enumerate((1, 2, 4, 8, 16, 32)):
        image = ifft2c(embed(crop_kspace(kspace, s), 32)).abs().numpy()
        assert np.abs(shown[number, ::8, ::8] - grey(image, white)).max() <= 1
        assert np.array_equal(shown[number], shown[number, ::8, ::8].repeat(8, axis=0).repeat(8, axis=1))
    assert labels.any(axis=(1, 2)).all()
    assert all((a != b).any() for a, b in pairwise(labels))


@pytest.mark.parametrize(("shape", "count"), [((32, 32), 6), ((20, 17), 6), ((20, 40), 7), ((40, 20), 7)])
def test_a_grid_that_holds_all_bins_ends_with_them(tmp_path, rng, shape, count):
    """Grid of 32: the frames 1 to 16, 32 only where bins lie beyond it, and always the full image."""
    kspace = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    scale_gif(tmp_path / "a.gif", kspace, 32)
    shown, _, _ = frames(tmp_path / "a.gif")
    assert len(shown) == count
    full = ifft2c(torch.from_numpy(kspace)).abs().numpy()
    factor = shown.shape[1] // shape[0]
    assert np.abs(shown[-1, ::factor, ::factor] - grey(full, full.max())).max() <= 1


def test_slices_stand_side_by_side_in_their_own_windows(tmp_path, head):
    scale_gif(tmp_path / "a.gif", head * np.array([1, 1e-3])[:, None, None], 32)
    shown, _, _ = frames(tmp_path / "a.gif")
    assert shown.shape[1:] == (256, 512)
    for number, half in enumerate(np.split(shown[-1], 2, axis=1)):
        full = ifft2c(torch.from_numpy(head[number])).abs().numpy()
        assert np.abs(half[::8, ::8] - grey(full, full.max())).max() <= 1


def test_the_image_is_cropped_before_the_window_is_chosen(tmp_path, rng):
    image = np.full((300, 20), 0.1)
    image[0, 0] = 50  # outside of what is shown
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    scale_gif(tmp_path / "a.gif", kspace, 32, crop=lambda full: full[10:290, 5:15])
    shown, _, _ = frames(tmp_path / "a.gif")
    assert shown.shape[1:] == (280, 10)  # large enough as it is
    assert (shown[-1] >= 254).all()


def test_a_series_side_by_side_in_one_window(tmp_path, rng):
    images = {name: rng.random((5, 300, 20)) for name in ("reference", "reconstruction")}
    cine_gif(tmp_path / "a.gif", images, 2.0)
    shown, labels, durations = frames(tmp_path / "a.gif")
    assert durations == [CINE_MS] * 5
    assert np.abs(shown - grey(np.concatenate([*images.values()], axis=2), 2.0)).max() <= 1
    assert all((a != b).any() for a, b in pairwise(labels))
