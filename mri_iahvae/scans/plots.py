"""Figures of reconstructions and samples, as PNG files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.scans.writer import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_GAIN = 5
"""The error image is brightened by this factor."""

_DECADES = 4  # of k-space magnitude, from black to white
_PANEL_INCHES = 2.6
_DPI = 120


def kspace_figure(
    path: Path,
    *,
    zero_filled: NDArray[np.floating],
    reconstruction: NDArray[np.floating],
    measured: NDArray[np.complexfloating],
    completed: NDArray[np.complexfloating],
    reference: NDArray[np.floating] | None = None,
    reference_kspace: NDArray[np.complexfloating] | None = None,
    deviation: NDArray[np.floating] | None = None,
    index: int | None = None,
    scores: Mapping[str, Scores] | None = None,
    title: str = "",
) -> None:
    """Images in the upper row, log-magnitude k-space in the lower one, for one slice.

    All images share one grey window, and so do all k-spaces (four decades below the largest bin).

    Args:
        path: PNG file to write.
        zero_filled: (slices, H, W), magnitude of the inverse FFT of the measured bins.
        reconstruction: (slices, H, W), magnitude.
        measured: complex (slices, H, W), zero where not measured.
        completed: complex (slices, H, W), k-space of the reconstruction.
        reference: (slices, H, W), magnitude; adds the reference and the error images.
        reference_kspace: complex (slices, H, W); adds its panel.
        deviation: (slices, H, W), standard deviation of posterior samples; adds its image, as bright as the errors.
        index: the slice; the middle one by default.
        scores: of the volume, for the titles; by panel, "zero-filled" and "reconstruction".
        title: above the figure.

    Raises:
        IahvaeError: the file cannot be written.
    """
    index = len(reconstruction) // 2 if index is None else index
    images = {"zero-filled": zero_filled[index], "reconstruction": reconstruction[index]}
    if reference is not None:
        images = {"reference": reference[index], **images}
        images |= {
            f"error of {name} x{ERROR_GAIN}": ERROR_GAIN * np.abs(images[name] - images["reference"])
            for name in ("zero-filled", "reconstruction")
        }
    if deviation is not None:
        images[f"standard deviation x{ERROR_GAIN}"] = ERROR_GAIN * deviation[index]
    spectra = {"measured k-space": measured[index], "completed k-space": completed[index]}
    if reference_kspace is not None:
        spectra = {"reference k-space": reference_kspace[index], **spectra}

    figure, axes = _figure(2, len(images))
    white = float((images.get("reference", images["reconstruction"])).max()) or 1.0
    for axis, (name, image) in zip(axes[0], images.items(), strict=True):
        _show(axis, image, (0, white), name + _score_line((scores or {}).get(name)))
    peak = np.log10(max(float(np.abs(kspace).max()) for kspace in spectra.values()) or 1.0)
    for axis, (name, kspace) in zip(axes[1], spectra.items(), strict=False):
        logs = np.log10(np.maximum(np.abs(kspace), 10 ** (peak - _DECADES)))
        _show(axis, logs, (peak - _DECADES, peak), name)
    figure.suptitle(f"{title}, slice {index}" if title else f"slice {index}", fontsize=10)
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


def _figure(rows: int, columns: int) -> "tuple[Figure, NDArray]":
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    size = (_PANEL_INCHES * columns, _PANEL_INCHES * rows + 1.0)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def _show(axis: "Axes", image: NDArray[np.floating], window: tuple[float, float], title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest")
    axis.set_title(title, fontsize=8)


def _score_line(scores: Scores | None) -> str:
    if scores is None:
        return ""
    return f"\nNMSE {scores.nmse:.3g}   PSNR {scores.psnr:.1f} dB   SSIM {scores.ssim:.3f}"


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
