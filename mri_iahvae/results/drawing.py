"""Rows of panels on a page: their places, colour bars, boxes and scale bars; as PNG, PDF or SVG."""

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")

# Lengths in inches.
PANEL = 2.2
"""Width of a panel, at least."""
_WIDEST = 18.0  # a page
_MARGIN, _GAP = 0.08, 0.1
_BAR, _BAR_ROOM = 0.08, 0.58  # a colour bar; with its numbers and label
_LINE, _TITLE_LINE = 0.16, 0.17  # of text
_CHARACTER = 0.083  # of a title, on average

_FONT, _TITLE_FONT, _SMALL_FONT = 9, 10, 7
_DPI, _VECTOR_DPI = 150, 300
_SQUEEZED = 2.0  # height of a panel over its width, at most; and the other way round
_BOX = "#ffb000"
_LENGTHS = (200, 100, 50, 20, 10, 5, 2, 1)  # of scale bars, mm


@dataclass(frozen=True, eq=False)
class Panel:
    """An image, in grey or in colours.

    Attributes:
        title: above it, in one line or several.
        values: float (height, width).
        black: the lower end of its window.
        white: the upper end.
        unit: of the values, beside the colour bar, which panels of one window in a row have in common; nothing for
            no bar.
        box: (row, column, side) of a square of pixels to be marked.
        pixel: width of one in mm, for a scale bar; None for no bar.
        colours: matplotlib's name of the colour map.
    """

    title: str
    values: NDArray[np.floating]
    black: float
    white: float
    unit: str = ""
    box: tuple[int, int, int] | None = None
    pixel: float | None = None
    colours: str = "gray"

    def enlarged(self) -> "Panel":
        """What the box holds, as a panel in the same window, framed."""
        assert self.box is not None  # noqa: S101 - asked of panels that have one
        row, column, side = self.box
        values = self.values[row : row + side, column : column + side]
        return replace(self, title=self.title.splitlines()[0], values=values, box=(0, 0, side))

    @property
    def window(self) -> tuple[float, float, str, str]:
        """Neighbours of one window have one colour bar."""
        return self.black, self.white, self.unit, self.colours


def draw(
    path: Path,
    rows: Sequence[Sequence[Panel]],
    title: str = "",
    *,
    figure_format: str = "png",
    narrowest: float = PANEL,
    ragged: bool = False,
) -> None:
    """Write rows of panels under a title, which is wrapped.

    Panels of a row have one height. Every row fills the width of the page, so that nothing is blank; `ragged` ends a
    row that has fewer panels where it ends.

    Raises:
        IahvaeError: the file cannot be written.
    """
    # Where no home can be written to, it speaks of its cache on standard error.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    longest = max(len(row) for row in rows)
    counts = [longest if ragged else len(row) for row in rows]
    widths = [_natural_width(row, count, narrowest) for row, count in zip(rows, counts, strict=True)]
    width = min(max(*widths, 2 * PANEL), _WIDEST)
    lines = [
        part for line in title.splitlines() for part in textwrap.wrap(line, int(width / _CHARACTER)) or [""]
    ]
    heights = [_height(row, count, width) for row, count in zip(rows, counts, strict=True)]
    headings = [_LINE * max(len(panel.title.splitlines()) for panel in row) + _GAP / 2 for row in rows]
    height = 2 * _MARGIN + _TITLE_LINE * len(lines) + sum(heights) + sum(headings) + _GAP * len(rows)
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    top = height - _MARGIN
    style: dict[str, Any] = {
        "ha": "center",
        "va": "top",
        "fontsize": _TITLE_FONT,
        "linespacing": 1.2,
        "parse_math": False,
    }
    figure.text(0.5, top / height, "\n".join(lines), **style)
    top -= _TITLE_LINE * len(lines) + _GAP / 2
    for row, heading, size in zip(rows, headings, heights, strict=True):
        top -= heading + size
        _draw_row(figure, row, top, size)
        top -= _GAP
    dpi = _DPI if figure_format == "png" else _VECTOR_DPI
    with atomic_path(path) as part:
        figure.savefig(part, format=figure_format, dpi=dpi)


def _narrowness(panel: Panel) -> float:
    """Width over height."""
    height, width = panel.values.shape
    return float(np.clip(width / height, 1 / _SQUEEZED, _SQUEEZED))


def _bars(row: Sequence[Panel]) -> list[bool]:
    """Whether a colour bar follows each panel: the last of those of one window."""
    nexts = [*(panel.window for panel in row[1:]), None]
    return [bool(panel.unit) and panel.window != after for panel, after in zip(row, nexts, strict=True)]


def _beside(row: Sequence[Panel], count: int) -> float:
    """Width of all that is beside the panels of a row."""
    return 2 * _MARGIN + _GAP * (count - 1) + _BAR_ROOM * sum(_bars(row))


def _natural_width(row: Sequence[Panel], count: int, narrowest: float) -> float:
    """Of a row whose narrowest panel is as wide as is asked for."""
    widths = [_narrowness(panel) for panel in row]
    return _beside(row, count) + narrowest * sum(widths) / min(widths) * count / len(row)


def _height(row: Sequence[Panel], count: int, width: float) -> float:
    """Of the panels of a row that fills a width, had it `count` panels."""
    widths = sum(_narrowness(panel) for panel in row) * count / len(row)
    return (width - _beside(row, count)) / widths


def _draw_row(figure: "Figure", row: Sequence[Panel], bottom: float, height: float) -> None:
    """Panels from the left margin on, their lower edge `bottom` above that of the page."""
    page_width, page_height = figure.get_size_inches()
    left = _MARGIN
    for panel, has_bar in zip(row, _bars(row), strict=True):
        width = height * _narrowness(panel)
        place = (left / page_width, bottom / page_height, width / page_width, height / page_height)
        axes = figure.add_axes(place)
        _draw_panel(axes, panel, width)
        left += width
        if has_bar:
            bar = figure.add_axes(((left + _GAP / 2) / page_width, place[1], _BAR / page_width, place[3]))
            _draw_bar(figure, axes, bar, panel.unit)
            left += _BAR_ROOM
        left += _GAP


def _draw_panel(axes: "Axes", panel: Panel, width: float) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    axes.set_axis_off()
    fits = max(panel.values.shape) <= width * _DPI  # else single columns of a mask would be dropped
    sampling = "nearest" if fits else "antialiased"
    axes.imshow(panel.values, cmap=panel.colours, vmin=panel.black, vmax=panel.white, interpolation=sampling)
    axes.set_title(panel.title, fontsize=_FONT, pad=3, linespacing=1.1, parse_math=False)
    if panel.box is not None:
        row, column, side = panel.box
        corner = (column - 0.5, row - 0.5)
        axes.add_artist(Rectangle(corner, side, side, fill=False, edgecolor=_BOX, linewidth=1.2))
    if panel.pixel is not None:
        _draw_scale(axes, panel.values.shape, panel.pixel)


def _draw_scale(axes: "Axes", shape: tuple[int, ...], pixel: float) -> None:
    """A bar of at most a third of the width, with its length; none where a millimetre is too long."""
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patheffects import withStroke  # noqa: PLC0415

    height, width = shape
    length = next((mm for mm in _LENGTHS if mm <= width * pixel / 3), None)
    if length is None:
        return
    first, level = 0.05 * width, 0.94 * height
    outline = [withStroke(linewidth=3, foreground="black")]
    ends = (first, first + length / pixel)
    axes.add_artist(Line2D(ends, (level, level), color="white", linewidth=2, path_effects=outline))
    style: dict[str, Any] = {"color": "white", "fontsize": _FONT, "va": "bottom", "path_effects": outline}
    axes.text(first, level - 0.02 * height, f"{length} mm", **style)


def _draw_bar(figure: "Figure", axes: "Axes", bar: "Axes", unit: str) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter  # noqa: PLC0415

    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    figure.colorbar(axes.images[0], cax=bar, ticks=MaxNLocator(5), format=numbers)
    bar.tick_params(labelsize=_SMALL_FONT, length=2, pad=1)
    bar.yaxis.get_offset_text().set_fontsize(_SMALL_FONT)
    bar.set_ylabel(unit, fontsize=_SMALL_FONT, labelpad=1)
