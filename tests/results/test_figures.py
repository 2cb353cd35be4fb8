import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import image as pictures

from mri_iahvae.evaluation.metrics import score
from mri_iahvae.results import figures
from mri_iahvae.results.figures import grid_figure, kspace_figure, plain_text, profile_figure, sheet_figure
from mri_iahvae.results.panels import FigureOptions, SliceView, Titles


def view(rng, number=1, **more):
    kspace = rng.normal(size=(16, 16)) + 1j
    images = {"zero_filled": rng.random((16, 16)), "reconstruction": rng.random((16, 16))}
    return SliceView(number, **images, measured=kspace, completed=kspace, **more)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: rows and title."""
    calls = []
    monkeypatch.setattr(figures, "draw", lambda _, rows, title, **__: calls.append((rows, title)))
    return calls


def test_all_zero_data_can_be_drawn(tmp_path):
    zeros = {name: np.zeros((8, 8)) for name in ("zero_filled", "reconstruction", "measured", "completed")}
    kspace_figure(tmp_path / "a.png", [SliceView(0, **zeros)])
    assert (tmp_path / "a.png").stat().st_size > 0


def test_scores_are_those_of_the_slice_above_panels_and_of_the_volume_in_the_title(tmp_path, rng, drawn):
    one = view(rng, reference=rng.random((16, 16)))
    zero = view(rng, number=3, reference=np.zeros((16, 16)))
    volume = score(one.reference[None], one.zero_filled[None])
    options = {"titles": Titles.of("denoise", 8), "scores": {"noisy": volume}}
    kspace_figure(tmp_path / "a.png", [one, zero], title="scan.h5", caption="model small", **options)
    ((rows, title),) = drawn
    panels = [panel.title for row in rows for panel in row]
    for name, image in (("noisy", one.zero_filled), ("denoised", one.reconstruction)):
        found = score(one.reference[None], image[None])
        line = f"NMSE {found.nmse:#.3g}   SSIM {found.ssim:.3f}\nPSNR {found.psnr:.1f} dB"
        assert f"{name}\n{line}" in panels
    assert "denoised\nno scores: the reference is zero" in panels
    assert any("combined" in title for title in panels)  # of several coils it is that of the combined image
    assert [title for title in panels if "slice" in title] == ["slice 1: reference", "slice 3: reference"]
    whole = f"NMSE {volume.nmse:#.3g}   SSIM {volume.ssim:.3f}   PSNR {volume.psnr:.1f} dB"
    assert title.splitlines() == ["scan.h5", "model small", f"whole volume, noisy: {whole}"]


def test_a_single_slice_is_named_in_the_title(tmp_path, rng, drawn):
    kspace_figure(tmp_path / "a.png", [view(rng)], title="scan.h5")
    kspace_figure(tmp_path / "a.png", [view(rng)], options=FigureOptions(panels=("reconstruction",)))
    assert [title for _, title in drawn] == ["scan.h5, slice 1", "slice 1"]
    assert [panel.title for panel in drawn[1][0][0]] == ["reconstruction"]


@pytest.mark.parametrize(
    ("by_column", "whites"), [(False, [[1, 1], [0.5, 0.5]]), (True, [[1.25, 0.125], [1.25, 0.125]])]
)  # above a column's maximum a fifth is spare
def test_windows_of_rows_and_of_columns(tmp_path, drawn, by_column, whites):
    """A row goes by its first image, a column by its brightest one, however faint."""
    rows = [[np.full((8, 8), value) for value in values] for values in ((1.0, 0.1), (0.5, 0.0))]
    grid_figure(tmp_path / "a.png", rows, ["a", "b"], by_column=by_column)
    ((panels, _),) = drawn
    assert [[panel.white for panel in row] for row in panels] == [
        [pytest.approx(w) for w in row] for row in whites
    ]
    assert [[panel.title for panel in row] for row in panels] == [["a", "b"], ["", ""]]


def test_grey_values_are_those_of_the_window(tmp_path):
    grid_figure(tmp_path / "a.png", [[np.full((8, 8), value) for value in (1.0, 0.5)]], ["", ""])
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    middle = picture[len(picture) // 2]
    np.testing.assert_allclose(middle[[len(middle) // 4, 3 * len(middle) // 4]], [1, 0.5], atol=0.01)


@pytest.mark.parametrize(("count", "rows"), [(1, [1]), (3, [3]), (7, [4, 3]), (24, [6] * 4), (64, [8] * 8)])
def test_sheets_are_filled(tmp_path, drawn, count, rows):
    sheet_figure(tmp_path / "a.png", {str(number): np.ones((8, 8)) for number in range(count)})
    assert [len(row) for row in drawn[0][0]] == rows


@pytest.mark.parametrize(("white", "whites"), [(None, [1e-3, 1e3, 1]), (5.0, [5, 5, 5])])
def test_images_of_a_sheet_have_their_own_window_or_one(tmp_path, drawn, white, whites):
    images = {name: np.full((8, 8), value) for name, value in (("a", 1e-3), ("b", 1e3), ("c", 0))}
    sheet_figure(tmp_path / "a.png", images, white=white)
    assert [(panel.title, panel.white) for panel in drawn[0][0][0]] == list(zip("abc", whites, strict=True))


def test_a_profile_is_the_column_that_varies_most_against_time(tmp_path, drawn, rng):
    series = {name: rng.random((3, 8, 6)) for name in ("reference", "reconstruction")}
    series["reconstruction"][:, :, 4] += 5 * np.arange(3)[:, None]
    profile_figure(tmp_path / "a.png", series, "scan", white=2.0)
    (panels,), title = drawn[0]
    assert title == "scan\ncolumn 4 against time"
    assert [panel.white for panel in panels] == [2, 2]
    for panel, images in zip(panels, series.values(), strict=True):
        assert np.array_equal(panel.values[:, ::3], images[:, :, 4].T)  # 8 rows, so each frame is 3 wide


def test_letters_that_the_font_may_lack_are_replaced():
    assert plain_text("a$b$\u4e2d.h5") == "a$b$?.h5"


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
