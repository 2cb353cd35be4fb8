import numpy as np
import pytest
from matplotlib import _pylab_helpers
from matplotlib import image as pictures

from mri_iahvae.errors import IahvaeError
from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.scans.plots import grid_figure, kspace_figure, plain_text, sheet_figure


def arguments(rng):
    kspace = rng.normal(size=(3, 16, 16)) + 1j
    return {
        "zero_filled": rng.random((3, 16, 16)),
        "reconstruction": rng.random((3, 16, 16)),
        "measured": np.where(np.arange(16) % 2, kspace, 0),
        "completed": kspace,
    }


def test_kspace_figure_with_and_without_reference(tmp_path, rng):
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    kspace_figure(plain, **arguments(rng))
    kspace_figure(
        full,
        **arguments(rng),
        reference=rng.random((3, 16, 16)),
        reference_kspace=np.zeros((3, 16, 16), complex),
        index=0,
        scores={"reconstruction": Scores(0.01, 30.0, 0.9)},
        title="scan.h5",
    )
    a, b = pictures.imread(plain), pictures.imread(full)
    assert a.ndim == b.ndim == 3
    assert b.shape[1] > 2 * a.shape[1]  # five columns against two
    assert a[..., :3].std() > 0.1
    assert {p.name for p in tmp_path.iterdir()} == {"plain.png", "full.png"}


@pytest.mark.parametrize("referenced", [False, True])
def test_a_standard_deviation_adds_its_panel(tmp_path, rng, referenced):
    options = {**arguments(rng), "reference": rng.random((3, 16, 16)) if referenced else None}
    deviation = np.zeros((3, 16, 16))
    deviation[1, 8, 8] = 1  # the middle slice is drawn
    shown = []
    for number, values in enumerate((None, deviation, 0 * deviation)):
        kspace_figure(tmp_path / f"{number}.png", **options, deviation=values)
        shown.append(pictures.imread(tmp_path / f"{number}.png"))
    assert shown[1].shape[1] > shown[0].shape[1]
    assert shown[1].shape == shown[2].shape
    differing = (shown[1] != shown[2]).any(axis=(0, 2)).nonzero()[0]
    assert differing.min() > (0.8 if referenced else 2 / 3) * shown[1].shape[1]  # in the last column only


def test_all_zero_data_can_be_drawn(tmp_path):
    zeros = {name: np.zeros((1, 8, 8)) for name in ("zero_filled", "reconstruction", "measured", "completed")}
    kspace_figure(tmp_path / "a.png", **zeros)
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
    kspace_figure(tmp_path / "a.png", **arguments(rng))
    assert _pylab_helpers.Gcf.figs == {}


def test_folder_that_cannot_be_written(tmp_path, rng):
    (tmp_path / "file").write_text("")
    with pytest.raises(IahvaeError, match="cannot be made"):
        kspace_figure(tmp_path / "file" / "a.png", **arguments(rng))
