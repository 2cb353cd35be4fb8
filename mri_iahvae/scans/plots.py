"""Figures of reconstructions and samples, as PNG files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_GAIN = 5
"""The error image is brightened by this factor."""

_DECADES = 4  # of k-space magnitude, from black to white
_PANEL_INCHES = 2.6  # the width
_TALLEST = 2.0  # height of a panel over its width, at most
_DPI = 120


@dataclass(frozen=True, eq=False)
class SliceView:
    """What `kspace_figure` shows of one slice; k-space may be larger than the images, and neither need be square."""

    number: int
    """Of the slice in its volume."""
    zero_filled: NDArray[np.floating]
    """(h, w), magnitude of the inverse FFT of the measured bins."""
    reconstruction: NDArray[np.floating]
    """(h, w), magnitude."""
    measured: NDArray[np.complexfloating]
    """Complex (H, W), zero where not measured."""
    completed: NDArray[np.complexfloating]
    """Complex (H, W), k-space of the reconstruction."""
    reference: NDArray[np.floating] | None = None
    """(h, w), magnitude; adds the reference and the error images."""
    reference_kspace: NDArray[np.complexfloating] | None = None
    """Complex (H, W); adds its panel."""
    deviation: NDArray[np.floating] | None = None
    """(h, w), standard deviation of posterior samples; adds its image, as bright as the errors."""

    @property
    def images(self) -> dict[str, NDArray[np.floating]]:
        """The upper row, by title."""
        images = {"zero-filled": self.zero_filled, "reconstruction": self.reconstruction}
        if self.reference is not None:
            errors = {
                f"error of {name} x{ERROR_GAIN}": ERROR_GAIN * np.abs(image - self.reference)
                for name, image in images.items()
            }
            images = {"reference": self.reference, **images, **errors}
        if self.deviation is not None:
            images[f"standard deviation x{ERROR_GAIN}"] = ERROR_GAIN * self.deviation
        return images

    @property
    def spectra(self) -> dict[str, NDArray[np.complexfloating]]:
        """The lower row, by title."""
        spectra = {"measured k-space": self.measured, "completed k-space": self.completed}
        if self.reference_kspace is not None:
            spectra = {"reference k-space": self.reference_kspace, **spectra}
        return spectra


def kspace_figure(
    path: Path,
    views: Sequence[SliceView],
    *,
    scores: Mapping[str, Scores] | None = None,
    title: str = "",
) -> None:
    """Two rows per slice: images in the upper one, log-magnitude k-space in the lower one.

    All images of a slice share one grey window, and so do all its k-spaces (four decades below the largest bin).

    Args:
        path: PNG file to write.
        views: the slices, at least one, from top to bottom.
        scores: of the volume, for the titles; by panel, "zero-filled" and "reconstruction".
        title: above the figure.

    Raises:
        IahvaeError: the file cannot be written.
    """
    shapes = [[next(iter(row.values())).shape for row in (view.images, view.spectra)] for view in views]
    figure, axes = _figure(
        2 * len(views),
        max(len(view.images) for view in views),
        [min(height / width, _TALLEST) for rows in shapes for height, width in rows],
    )
    for position, (view, upper, lower) in enumerate(zip(views, axes[::2], axes[1::2], strict=True)):
        lines = (scores or {}) if position == 0 else {}  # of the volume: once is enough
        white = float((view.reconstruction if view.reference is None else view.reference).max()) or 1.0
        for axis, (name, image) in zip(upper, view.images.items(), strict=False):
            _show(axis, image, (0, white), name + _score_line(lines.get(name)))
        peak = np.log10(max(float(np.abs(kspace).max()) for kspace in view.spectra.values()) or 1.0)
        for axis, (name, kspace) in zip(lower, view.spectra.items(), strict=False):
            logs = np.log10(np.maximum(np.abs(kspace), 10 ** (peak - _DECADES)))
            _show(axis, logs, (peak - _DECADES, peak), name)
    names = [f"slice {view.number}" for view in views]
    if len(views) == 1:
        figure.suptitle(f"{title}, {names[0]}" if title else names[0], fontsize=10)
    else:
        for axis, name in zip(axes[::2, 0], names, strict=True):
            axis.text(-0.05, 0.5, name, rotation=90, ha="right", va="center", transform=axis.transAxes)
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def grid_figure(
    path: Path,
    rows: Sequence[Sequence[NDArray[np.floating]]],
    titles: Sequence[str],
    title: str = "",
    window: int = 0,
) -> None:
    """Rows of images, each row in its own grey window from 0 to the maximum of one of its images.

    Args:
        path: PNG file to write.
        rows: of (H, W) magnitude images, each row as long as `titles`.
        titles: one per column.
        title: above the figure.
        window: number of the image that decides the row's window; the first by default, -1 for the last.

    Raises:
        IahvaeError: the file cannot be written.
    """
    figure, axes = _figure(len(rows), len(titles))
    for row, (images, line) in enumerate(zip(rows, axes, strict=True)):
        white = float(images[window].max()) or 1.0
        for axis, image, name in zip(line, images, titles, strict=True):
            _show(axis, image, (0, white), name if row == 0 else "")
    if title:
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def plain_text(name: str) -> str:
    """A name for a title: no mathematics between dollar signs, no letters that the font may lack."""
    return name.encode("ascii", "replace").decode().replace("$", r"\$")


def sheet_figure(path: Path, images: Sequence[NDArray[np.floating]], title: str = "") -> None:
    """Numbered images on a sheet that is about square, each in its own grey window from 0 to its maximum.

    Args:
        path: PNG file to write.
        images: (H, W) magnitude images, at least one.
        title: above the figure.

    Raises:
        IahvaeError: the file cannot be written.
    """
    columns = math.ceil(math.sqrt(len(images)))
    figure, axes = _figure(math.ceil(len(images) / columns), columns)
    for number, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        _show(axis, image, (0, float(image.max()) or 1.0), str(number))
    if title:
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _figure(rows: int, columns: int, heights: Sequence[float] | None = None) -> "tuple[Figure, NDArray]":
    """Empty panels; `heights` are those of the rows, over the width of a panel (1 each by default)."""
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    heights = heights or [1.0] * rows
    size = (_PANEL_INCHES * columns, _PANEL_INCHES * sum(heights) + 1.0)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def _show(axis: "Axes", image: NDArray[np.floating], window: tuple[float, float], title: str) -> None:
    fits = max(image.shape) <= _PANEL_INCHES * _DPI  # else single columns of a mask would be dropped
    sampling = "nearest" if fits else "antialiased"
    axis.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], interpolation=sampling)
    axis.set_title(title, fontsize=8)


def _score_line(scores: Scores | None) -> str:
    if scores is None:
        return ""
    return f"\nNMSE {scores.nmse:.3g}   PSNR {scores.psnr:.1f} dB   SSIM {scores.ssim:.3f}"


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
