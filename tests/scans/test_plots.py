from dataclasses import replace

import numpy as np
import pytest
from matplotlib import _pylab_helpers
from matplotlib import image as pictures

from mri_iahvae.errors import IahvaeError
from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.scans.plots import SliceView, grid_figure, kspace_figure, plain_text, sheet_figure


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


def test_kspace_figure_with_and_without_reference(tmp_path, rng):
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    kspace_figure(plain, [view(rng)])
    referenced = view(
        rng, number=0, reference=rng.random((16, 16)), reference_kspace=np.zeros((16, 16), complex)
    )
    kspace_figure(full, [referenced], scores={"reconstruction": Scores(0.01, 30.0, 0.9)}, title="scan.h5")
    a, b = pictures.imread(plain), pictures.imread(full)
    assert a.ndim == b.ndim == 3
    assert b.shape[1] > 2 * a.shape[1]  # five columns against two
    assert a[..., :3].std() > 0.1
    assert {p.name for p in tmp_path.iterdir()} == {"plain.png", "full.png"}


@pytest.mark.parametrize("referenced", [False, True])
def test_a_standard_deviation_adds_its_panel(tmp_path, rng, referenced):
    plain = view(rng, reference=rng.random((16, 16)) if referenced else None)
    deviation = np.zeros((16, 16))
    deviation[8, 8] = 1
    shown = []
    for number, values in enumerate((None, deviation, 0 * deviation)):
        kspace_figure(tmp_path / f"{number}.png", [replace(plain, deviation=values)])
        shown.append(pictures.imread(tmp_path / f"{number}.png"))
    assert shown[1].shape[1] > shown[0].shape[1]
    assert shown[1].shape == shown[2].shape
    differing = (shown[1] != shown[2]).any(axis=(0, 2)).nonzero()[0]
    assert differing.min() > (0.8 if referenced else 2 / 3) * shown[1].shape[1]  # in the last column only


def test_every_slice_has_two_rows_and_its_own_window(tmp_path, rng):
    """The slices stand one above the other: only the rows of the slice that differs differ."""
    first, second = view(rng, 3), view(rng, 10)
    brighter = replace(second, zero_filled=2 * second.zero_filled, reconstruction=2 * second.reconstruction)
    changed = replace(second, zero_filled=second.reconstruction)
    shown = {}
    for name, views in {
        "one": [first],
        "two": [first, second],
        "same": [first, brighter],
        "other": [first, changed],
    }.items():
        kspace_figure(tmp_path / f"{name}.png", views, title="scan.h5")
        shown[name] = pictures.imread(tmp_path / f"{name}.png")
    assert shown["two"].shape[0] > 1.7 * shown["one"].shape[0]
    assert np.array_equal(shown["two"], shown["same"])
    rows = (shown["two"] != shown["other"]).any(axis=(1, 2)).nonzero()[0] / len(shown["two"])
    assert 0.5 < rows.min() < rows.max() < 0.77  # the third row of four


def test_kspace_taller_than_the_images(tmp_path, rng):
    """Panels keep the shape of what they show; nothing of the images moves into the row of k-space."""
    kspace_figure(tmp_path / "square.png", [view(rng)])
    kspace_figure(tmp_path / "tall.png", [view(rng, size=(10, 12), grid=(36, 24))])
    square, tall = (pictures.imread(tmp_path / f"{name}.png") for name in ("square", "tall"))
    assert square.shape[1] == tall.shape[1]
    assert 1.1 < len(tall) / len(square) < 1.25  # rows of 10/12 + 36/24 panels in place of two


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


def test_grid_figure(tmp_path, rng):
    grid_figure(tmp_path / "a.png", [[rng.random((8, 8))] * 3] * 2, ["x", "y", "z"], title="step 1")
    height, width, _ = pictures.imread(tmp_path / "a.png").shape
    assert width > height
    with pytest.raises(ValueError, match="zip"):
        grid_figure(tmp_path / "b.png", [[rng.random((8, 8))]], ["x", "y"])
    assert not (tmp_path / "b.png").exists()


def test_the_window_is_that_of_the_chosen_image(tmp_path):
    dim, bright = np.full((8, 8), 0.5), np.full((8, 8), 1.0)
    shades = []
    for window in (0, -1):
        path = tmp_path / f"{window}.png"
        grid_figure(path, [[dim, bright]], ["", ""], window=window)
        picture = pictures.imread(path)[..., 0]
        shades.append(
            picture[picture.shape[0] // 2, picture.shape[1] // 4]
        )  # in the middle of the left panel
    assert shades == pytest.approx([1, 0.5], abs=0.01)


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (9, 3, 3)])
def test_sheet_figure_is_about_square(tmp_path, rng, count, rows, columns):
    sheet_figure(tmp_path / "a.png", list(rng.random((count, 8, 8))), "title")
    grid_figure(tmp_path / "b.png", [[rng.random((8, 8))] * columns] * rows, [""] * columns)
    assert pictures.imread(tmp_path / "a.png").shape == pictures.imread(tmp_path / "b.png").shape


def test_each_image_of_a_sheet_has_its_own_window(tmp_path):
    sheet_figure(tmp_path / "a.png", [np.full((8, 8), value) for value in (1e-3, 1e3, 0)])
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    height, width = picture.shape
    assert [picture[height // 4, width // 4], picture[height // 4, 3 * width // 4]] == [1, 1]
    assert picture[3 * height // 4, width // 4] == 0


def test_names_in_titles_are_no_mathematics():
    assert plain_text("a$b$\u4e2d.h5") == r"a\$b\$?.h5"


def test_pyplot_is_left_alone(tmp_path, rng):
    kspace_figure(tmp_path / "a.png", [view(rng)])
    assert _pylab_helpers.Gcf.figs == {}


def test_folder_that_cannot_be_written(tmp_path, rng):
    (tmp_path / "file").write_text("")
    with pytest.raises(IahvaeError, match="cannot be made"):
        kspace_figure(tmp_path / "file" / "a.png", [view(rng)])
