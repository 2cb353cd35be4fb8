import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image as pictures
from matplotlib.axes import Axes

from mri_iahvae.evaluation.metrics import score
from mri_iahvae.results.figures import SliceView, Titles, grid_figure, kspace_figure, plain_text, sheet_figure


def view(rng, number=1, size=(16, 16), grid=(16, 16), **more):
    kspace = rng.normal(size=grid) + 1j
    return SliceView(
        number,
        zero_filled=rng.random(size),
        reconstruction=rng.random(size),
        measured=np.where(np.arange(grid[1]) % 2, kspace, 0),
        completed=kspace,
        **more,
    )


@pytest.mark.parametrize(
    ("error", "gain"), [(2.0, 1), (0.9, 1), (0.4, 2), (0.19, 5), (0.009, 100), (0.0, 1000)]
)
def test_errors_are_as_bright_as_their_titles_say(error, gain, rng):
    """Nothing becomes whiter than white; of 1, 2, 5, 10 ... the largest factor is taken."""
    reference = rng.random((16, 16))
    reference[0, 0] = 1  # white
    signs = rng.choice([-1, 1], (16, 16))
    one = replace(
        view(rng, reference=reference),
        zero_filled=reference + error * signs,
        reconstruction=reference + error / 10,
    )
    images = one.images(Titles("noisy", "denoised"))
    before, after = images[f"error of noisy x{gain}"], images[f"error of denoised x{gain}"]
    np.testing.assert_allclose(before, gain * error, atol=1e-9)
    np.testing.assert_allclose(after, gain * error / 10, atol=1e-9)


def test_a_deviation_is_as_bright_as_the_errors_and_alone_as_its_content(rng):
    one = replace(view(rng, deviation=np.full((16, 16), 0.04)), reconstruction=np.ones((16, 16)))
    assert list(one.images(Titles()))[-1] == "standard deviation x20"
    one = replace(one, reference=np.full((16, 16), 0.9), zero_filled=np.full((16, 16), 0.8))
    assert list(one.images(Titles()))[-1] == "standard deviation x5"  # 0.1 of 0.9


def test_what_was_removed_takes_the_place_of_errors_and_yields_to_them(rng):
    one = replace(view(rng, removed=np.full((16, 16), 0.1)), reconstruction=np.ones((16, 16)))
    images = one.images(Titles("noisy", "denoised"))
    assert list(images) == ["noisy", "denoised", "removed x10"]
    np.testing.assert_allclose(images["removed x10"], 1.0)
    assert not any("removed" in name for name in replace(one, reference=np.ones((16, 16))).images(Titles()))


def test_single_columns_of_a_large_mask_stay_visible(tmp_path, rng):
    """640 x 368 bins do not fit the panel, of about 300 pixels: still none of the measured columns is lost."""
    columns = np.arange(368) % 5 == 1
    measured = np.where(columns, np.ones((640, 368), complex), 0)
    kspace_figure(tmp_path / "a.png", [replace(view(rng, size=(32, 32), grid=(640, 368)), measured=measured)])
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    line = picture[int(0.8 * len(picture)), : picture.shape[1] // 2] > 0.2
    assert np.count_nonzero(line[1:] & ~line[:-1]) == np.count_nonzero(columns) + 1  # one: the margin


def test_all_zero_data_can_be_drawn(tmp_path):
    zeros = {name: np.zeros((8, 8)) for name in ("zero_filled", "reconstruction", "measured", "completed")}
    kspace_figure(tmp_path / "a.png", [SliceView(0, **zeros)])
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("by_column", "shades"),
    [
        (False, [[1, 0.1], [1, 0]]),
        (True, [[0.8, 0.8], [0.4, 0]]),
    ],  # above a column's maximum a fifth is spare
)
def test_windows_of_rows_and_of_columns(tmp_path, by_column, shades):
    """A row goes by its first image, a column by its brightest one, however faint."""
    rows = [[np.full((8, 8), value) for value in values] for values in ((1.0, 0.1), (0.5, 0.0))]
    grid_figure(tmp_path / "a.png", rows, ["", ""], by_column=by_column)
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    height, width = picture.shape
    found = [[picture[y * height // 4, x * width // 4] for x in (1, 3)] for y in (1, 3)]
    np.testing.assert_allclose(found, shades, atol=0.01)


def test_each_image_of_a_sheet_has_its_own_window(tmp_path):
    sheet_figure(tmp_path / "a.png", [np.full((8, 8), value) for value in (1e-3, 1e3, 0)])
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    height, width = picture.shape
    assert [picture[height // 4, width // 4], picture[height // 4, 3 * width // 4]] == [1, 1]
    assert picture[3 * height // 4, width // 4] == 0


def test_names_in_titles_are_no_mathematics():
    assert plain_text("a$b$\u4e2d.h5") == r"a\$b\$?.h5"


def test_drawing_is_quiet_without_a_home(tmp_path):
    code = (
        "import sys, pathlib, numpy; from mri_iahvae.results.figures import grid_figure; "
        "grid_figure(pathlib.Path(sys.argv[1]), [[numpy.ones((4, 4))]], ['one'])"
    )
    homes = dict.fromkeys(
        ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(tmp_path / "file" / "home")
    )
    (tmp_path / "file").touch()
    environment = {**os.environ, **homes}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert (tmp_path / "a.png").is_file()


def test_scores_above_the_panels_are_those_of_the_slice(tmp_path, rng, monkeypatch):
    panels, draw = [], Axes.set_title
    monkeypatch.setattr(
        Axes, "set_title", lambda self, text, **kw: panels.append(text) or draw(self, text, **kw)
    )
    one = view(rng, reference=rng.random((16, 16)))
    zero = view(rng, number=3, reference=np.zeros((16, 16)))
    kspace_figure(tmp_path / "a.png", [one, zero], titles=Titles.of("denoise", 8), title="scan.h5")
    for name, image in (("noisy", one.zero_filled), ("denoised", one.reconstruction)):
        found = score(one.reference[None], image[None])
        line = f"NMSE {found.nmse:.3g}   PSNR {found.psnr:.1f} dB   SSIM {found.ssim:.3f}"
        assert f"{name}\n{line}" in panels
    assert "denoised\nno scores: the reference is zero" in panels
    assert any(
        "combined" in title for title in panels
    )  # k-space of several coils is that of the combined image
