"""Rows of panels on a page: nothing blank, colour bars, boxes and scale bars where they belong."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import image as pictures
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mri_iahvae.results.drawing import Panel, draw


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws rows and gives the figure."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **kw: figures.append(self) or save(self, *a, **kw)
    )

    def make(rows, *arguments, name="a.png", **options):
        draw(tmp_path / name, rows, *arguments, **options)
        return figures[-1]

    return make


def panel(size=(16, 16), white=1.0, unit="", **more):
    return Panel("title", np.ones(size), 0, white, unit, **more)


def panels_of(figure):
    """Places of the panels: left, bottom, right, upper end, as fractions of the page."""
    return [axes.get_position().extents for axes in figure.axes if axes.images]


@pytest.mark.parametrize("counts", [(4,), (3, 4), (2, 5), (1,)])
def test_every_row_fills_the_width_and_none_overlaps(drawn, counts):
    figure = drawn([[panel((16, 20)) for _ in range(count)] for count in counts], "a title")
    places = iter(panels_of(figure))
    rows = [[next(places) for _ in range(count)] for count in counts]
    width, height = figure.get_size_inches()
    for row in rows:
        assert row[0][0] * width == pytest.approx(0.08)
        assert (1 - row[-1][2]) * width == pytest.approx(0.08)
        assert all(left[2] < right[0] for left, right in pairwise(row))
        for left, bottom, right, top in row:
            assert (right - left) * width / ((top - bottom) * height) == pytest.approx(20 / 16)
    assert all(above[0][1] > below[0][3] for above, below in pairwise(rows))
    assert 0 < rows[-1][0][1] < rows[0][0][3] < 1


def test_a_ragged_row_ends_where_it_ends(drawn):
    *whole, last = panels_of(drawn([[panel()] * 3, [panel()]], ragged=True))
    np.testing.assert_allclose(last[[0, 2]], whole[0][[0, 2]])


def test_panels_of_one_window_have_one_colour_bar(drawn):
    row = [panel(unit="magnitude"), panel(unit="magnitude"), panel(white=0.2, unit="magnitude"), panel()]
    figure = drawn([row])
    bars = [axes for axes in figure.axes if not axes.images]
    assert [bar.get_ylim() for bar in bars] == [(0, 1), (0, 0.2)]
    assert {bar.get_ylabel() for bar in bars} == {"magnitude"}
    places = panels_of(figure)
    for bar, before, after in zip(bars, places[1:], places[2:], strict=False):
        left, bottom, right, top = bar.get_position().extents
        assert before[2] < left < right < after[0]
        np.testing.assert_allclose((bottom, top), before[[1, 3]])


def test_a_panel_in_colours_has_a_bar_of_its_own(drawn):
    figure = drawn([[panel(unit="magnitude"), panel(unit="magnitude", colours="inferno")]])
    assert [axes.images[0].get_cmap().name for axes in figure.axes if axes.images] == ["gray", "inferno"]
    assert len([axes for axes in figure.axes if not axes.images]) == 2


@pytest.mark.parametrize(
    ("pixel", "length"), [(1.0, 20), (2.0, 50), (0.05, 1), (0.01, None), (None, None)]
)  # of 100 pixels
def test_the_scale_bar_is_as_long_as_it_says(drawn, pixel, length):
    (axes,) = drawn([[panel((50, 100), pixel=pixel)]]).axes
    lines = [artist for artist in axes.get_children() if isinstance(artist, Line2D)]
    texts = [text.get_text() for text in axes.texts]
    if length is None:
        assert lines == texts == []
        return
    first, last = lines[0].get_xdata()
    assert (last - first) * pixel == pytest.approx(length)
    assert texts == [f"{length} mm"]
    assert axes.get_xlim() == (-0.5, 99.5)  # the bar does not widen the image


def test_the_box_encloses_its_pixels(drawn):
    (axes,) = drawn([[panel((32, 32), box=(4, 9, 6))]]).axes
    (box,) = (
        artist for artist in axes.get_children() if isinstance(artist, Rectangle) and artist.get_width() == 6
    )
    assert (*box.get_xy(), box.get_height()) == (8.5, 3.5, 6)


@pytest.mark.parametrize(
    ("figure_format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_formats(drawn, tmp_path, figure_format, start):
    name = f"a.{figure_format}"
    drawn(
        [[panel(unit="x", box=(0, 0, 4), pixel=1.0)]], r"a$b$ \frac", name=name, figure_format=figure_format
    )
    assert (tmp_path / name).read_bytes().startswith(start)


def test_long_titles_are_wrapped_within_the_page(drawn):
    figure = drawn([[panel()]], "word " * 60 + "\n" + "x" * 255)
    extent = figure.texts[0].get_window_extent()
    width, height = figure.get_size_inches() * figure.dpi
    assert extent.x0 >= 0
    assert extent.x1 <= width
    assert extent.y1 <= height
    assert extent.y0 > figure.axes[0].get_position().y1 * height


def test_single_columns_of_a_large_mask_stay_visible(tmp_path):
    """640 x 368 bins do not fit the panel, of about 330 pixels: still none of the measured columns is lost."""
    columns = np.arange(368) % 5 == 1
    measured = np.broadcast_to(columns, (640, 368)).astype(float)
    draw(tmp_path / "a.png", [[Panel("", values, 0, 1) for values in (np.zeros((32, 32)), measured)]])
    picture = pictures.imread(tmp_path / "a.png")[..., 0]
    line = picture[len(picture) // 2] > 0.2
    # Two: the gap between the panels, and the margin.
    assert np.count_nonzero(line[1:] & ~line[:-1]) == np.count_nonzero(columns) + 2
