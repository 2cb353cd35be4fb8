"""Figures of reconstructions and samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.results.drawing import PANEL, Panel, draw
from mri_iahvae.results.panels import FigureOptions, SliceView, Titles, score_lines, slice_rows

_HEADROOM = 1.25  # of a column's window: a constant image is not to look like paper
_SHEET_INCHES = 9.0  # the width of a sheet, at least


def kspace_figure(
    path: Path,
    views: Sequence[SliceView],
    *,
    titles: Titles | None = None,
    scores: Mapping[str, Scores] | None = None,
    title: str = "",
    caption: str = "",
    options: FigureOptions | None = None,
    pixel: float | None = None,
) -> None:
    """Images, errors and log-magnitude k-space of slices, in rows (`panels.slice_rows`).

    All images of a slice have the same grey window, so have its errors, in a narrower one by the factor that their
    titles state, and so have its k-spaces (five decades below the largest bin).

    Args:
        path: the file, of the format of `options`.
        views: the slices.
        titles: of the panels.
        scores: those of the volume, by the name of the image; they stand below the title. Those above panels are the
            slice's.
        title: of the figure.
        caption: below it: what was measured, and how it was computed.
        options: which panels, and how.
        pixel: width of a pixel of the images in mm, for a scale bar; None where it is unknown.

    Raises:
        IahvaeError: the file cannot be written.
    """
    titles, options = titles or Titles(), options or FigureOptions()
    rows = []
    for view in views:
        block = slice_rows(view, titles, options, pixel)
        if len(views) > 1:
            first = block[0][0]
            block[0][0] = replace(first, title=f"slice {view.number}: {first.title}")
        rows += block
    if len(views) == 1:
        name = f"slice {views[0].number}"
        title = f"{title}, {name}" if title else name
    lines = [
        f"whole volume, {name}: {'   '.join(score_lines(values))}" for name, values in (scores or {}).items()
    ]
    text = "\n".join(line for line in (title, caption, *lines) if line)
    draw(path, rows, text, figure_format=options.figure_format)


def grid_figure(
    path: Path,
    rows: Sequence[Sequence[NDArray[np.floating]]],
    titles: Sequence[str],
    title: str = "",
    *,
    by_column: bool = False,
) -> None:
    """Rows of magnitude images (H, W) in grey windows from 0 on, a title for each column; as PNG.

    With `by_column` each column has its own window, up to a little above the maximum of its images; else each row
    has, up to the maximum of its first image.
    """
    brightest = [
        _HEADROOM * max(float(image.max()) for image in images) for images in zip(*rows, strict=True)
    ]
    panels: list[list[Panel]] = []
    for images in rows:
        whites = brightest if by_column else [float(images[0].max())] * len(titles)
        names = titles if not panels else [""] * len(titles)
        panels.append(
            [
                Panel(name, image, 0, white or 1.0)
                for name, image, white in zip(names, images, whites, strict=True)
            ]
        )
    draw(path, panels, title)


def plain_text(name: str) -> str:
    """A name for a title: no letters that the font may lack."""
    return name.encode("ascii", "replace").decode()


def profile_figure(
    path: Path,
    images: Mapping[str, NDArray[np.floating]],
    title: str = "",
    *,
    white: float,
    figure_format: str = "png",
) -> None:
    """One column of the image against time, side by side of each series, in one grey window from 0 to `white`.

    It is the column whose magnitude varies most in the last series.

    Args:
        path: the file.
        images: (frames, H, W) by their titles.
        title: of the figure; the number of the column follows.
        white: a positive number.
        figure_format: as `FigureOptions` has it.

    Raises:
        IahvaeError: the file cannot be written.
    """
    *_, last = images.values()
    column = int(last.var(axis=0).sum(axis=0).argmax())
    wide = math.ceil(last.shape[1] / len(last))  # of a frame, for panels that are about square
    panels = [
        Panel(name, series[:, :, column].T.repeat(wide, axis=1), 0, white) for name, series in images.items()
    ]
    draw(path, [panels], f"{title}\ncolumn {column} against time".strip(), figure_format=figure_format)


def sheet_figure(
    path: Path,
    images: Mapping[str, NDArray[np.floating]],
    title: str = "",
    *,
    white: float | None = None,
    figure_format: str = "png",
) -> None:
    """Magnitude images (H, W) by their titles on a sheet, from 0 to `white`, else each to its own maximum.

    It is as square as it can be with as few images missing in its last row as can be.
    """
    count, side = len(images), math.ceil(math.sqrt(len(images)))
    columns = min(range(side, 2 * side), key=lambda columns: (-count % columns, columns))
    panels = [Panel(name, image, 0, white or float(image.max()) or 1.0) for name, image in images.items()]
    rows = [panels[first : first + columns] for first in range(0, count, columns)]
    inches = min(PANEL, _SHEET_INCHES / columns)
    draw(path, rows, title, figure_format=figure_format, narrowest=inches, ragged=True)
