"""Figures of reconstructions and samples, as PNG files."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores, score
from mri_iahvae.files import atomic_path
from mri_iahvae.results.report import image_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAINS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # by which errors are brightened
_WHITENED = 2  # per cent of their pixels, at most
_HEADROOM = 1.25  # of a column's window: a constant image is not to look like paper
_DECADES = 5  # of k-space magnitude, from black to white
_PANEL_INCHES = 2.6  # the width
_TALLEST = 2.0  # height of a panel over its width, at most
_DPI = 120


@dataclass(frozen=True)
class Titles:
    """What the panels of `kspace_figure` are called."""

    zero_filled: str = "zero-filled"
    reconstruction: str = "reconstruction"
    measured: str = "measured k-space"
    completed: str = "completed k-space"

    @classmethod
    def of(cls, task: str, coils: int) -> "Titles":
        """The titles of a task.

        Several coils are shown combined: a root sum of squares has a k-space that nobody measured.
        """
        before, after = image_names(task).values()
        if coils > 1:
            measured = f"k-space of the combined {before} image,\nmeasured bins only"
            return cls(before, after, measured, "k-space of the combined result,\nall bins")
        if task == "denoise":
            return cls(before, after, "noisy k-space", "denoised k-space")
        return cls()


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
    """(h, w), magnitude, sides of at least 7; adds the reference, the error images and scores."""
    reference_kspace: NDArray[np.complexfloating] | None = None
    """Complex (H, W); adds its panel."""
    deviation: NDArray[np.floating] | None = None
    """(h, w), standard deviation of posterior samples; adds its image, as bright as the errors."""
    removed: NDArray[np.floating] | None = None
    """(h, w), magnitude of what the measured bins lost in denoising; its image takes the place of missing errors."""

    @property
    def white(self) -> float:
        """Upper end of the images' grey window."""
        return float((self.reconstruction if self.reference is None else self.reference).max()) or 1.0

    def images(self, titles: Titles) -> dict[str, NDArray[np.floating]]:
        """The upper row, by title; with the scores of this slice, its data range being its own."""
        images = {titles.zero_filled: self.zero_filled, titles.reconstruction: self.reconstruction}
        errors = {}
        if (reference := self.reference) is not None:
            errors = {f"error of {name}": np.abs(image - reference) for name, image in images.items()}
            scored = {
                f"{name}\n{_score_line(score(reference[None], image[None]))}": image
                for name, image in images.items()
            }
            images = {"reference": reference, **scored}
        elif self.removed is not None:
            errors = {"removed": self.removed}
        deviation = {} if self.deviation is None else {"standard deviation": self.deviation}
        gain = _gain((errors or deviation).values(), self.white)
        return images | {f"{name} x{gain}": gain * image for name, image in (errors | deviation).items()}

    def spectra(self, titles: Titles) -> dict[str, NDArray[np.complexfloating]]:
        spectra = {titles.measured: self.measured, titles.completed: self.completed}
        if self.reference_kspace is not None:
            spectra = {"reference k-space": self.reference_kspace, **spectra}
        return spectra


def kspace_figure(
    path: Path,
    views: Sequence[SliceView],
    *,
    titles: Titles | None = None,
    scores: Mapping[str, Scores] | None = None,
    title: str = "",
) -> None:
    """Two rows per slice: images in the upper one, log-magnitude k-space in the lower one.

    All images of a slice have the same grey window, in which errors are brightened by the factor that their titles
    state, and so have its k-spaces (five decades below the largest bin). Scores above the panels are the slice's; those
    of the volume, by the name of the image, stand below the title.
    """
    titles = titles or Titles()
    rows = [(view.images(titles), view.spectra(titles)) for view in views]
    figure, axes = _figure(
        2 * len(views),
        max(len(images) for images, _ in rows),
        [height for images, spectra in rows for height in (_height(images), _height(spectra))],
    )
    for view, (images, spectra), upper, lower in zip(views, rows, axes[::2], axes[1::2], strict=True):
        for axis, (name, image) in zip(upper, images.items(), strict=False):
            _show(axis, image, (0, view.white), name)
        peak = np.log10(max(float(np.abs(kspace).max()) for kspace in spectra.values()) or 1.0)
        for axis, (name, kspace) in zip(lower, spectra.items(), strict=False):
            logs = np.log10(np.maximum(np.abs(kspace), 10 ** (peak - _DECADES)))
            _show(axis, logs, (peak - _DECADES, peak), name)
    names = [f"slice {view.number}" for view in views]
    if len(views) == 1:
        title = f"{title}, {names[0]}" if title else names[0]
    else:
        for axis, name in zip(axes[::2, 0], names, strict=True):
            axis.text(-0.05, 0.5, name, rotation=90, ha="right", va="center", transform=axis.transAxes)
    lines = [f"whole volume, {name}: {_score_line(values)}" for name, values in (scores or {}).items()]
    _save(figure, path, "\n".join([title, *lines]))


def grid_figure(
    path: Path,
    rows: Sequence[Sequence[NDArray[np.floating]]],
    titles: Sequence[str],
    title: str = "",
    *,
    by_column: bool = False,
) -> None:
    """Rows of magnitude images (H, W) in grey windows from 0 on, a title for each column.

    With `by_column` each column has its own window, up to a little above the maximum of its images; else each row
    has, up to the maximum of its first image.
    """
    figure, axes = _figure(len(rows), len(titles))
    brightest = [
        _HEADROOM * max(float(image.max()) for image in images) for images in zip(*rows, strict=True)
    ]
    for row, (images, line) in enumerate(zip(rows, axes, strict=True)):
        whites = brightest if by_column else [float(images[0].max())] * len(titles)
        for axis, image, name, white in zip(line, images, titles, whites, strict=True):
            _show(axis, image, (0, white or 1.0), name if row == 0 else "")
    _save(figure, path, title)


def plain_text(name: str) -> str:
    """A name for a title: no mathematics between dollar signs, no letters that the font may lack."""
    return name.encode("ascii", "replace").decode().replace("$", r"\$")


def sheet_figure(path: Path, images: Sequence[NDArray[np.floating]], title: str = "") -> None:
    """Numbered magnitude images (H, W) on a nearly square sheet, each in its own window from 0 to its maximum."""
    columns = math.ceil(math.sqrt(len(images)))
    figure, axes = _figure(math.ceil(len(images) / columns), columns)
    for number, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        _show(axis, image, (0, float(image.max()) or 1.0), str(number))
    _save(figure, path, title)


def _figure(rows: int, columns: int, heights: Sequence[float] | None = None) -> "tuple[Figure, NDArray]":
    """Empty panels; `heights` are those of the rows, over the width of a panel (1 each by default)."""
    # Where no home can be written to, it tells of its cache on standard error.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
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


def _height(panels: Mapping[str, NDArray]) -> float:
    """Of a row of panels of one shape, over the width of a panel."""
    height, width = next(iter(panels.values())).shape
    return min(height / width, _TALLEST)


def _gain(images: Iterable[NDArray[np.floating]], white: float) -> int:
    """Factor that brightens faint images of one scale: what it takes beyond white stays rare."""
    pixels = [image.ravel() for image in images]
    level = np.percentile(np.concatenate(pixels), 100 - _WHITENED) / white if pixels else np.inf
    return max((gain for gain in _GAINS if gain * level <= 1), default=1)


def _score_line(scores: Scores) -> str:
    if not math.isfinite(scores.nmse):
        return "no scores: the reference is zero"
    return f"NMSE {scores.nmse:#.3g}   PSNR {scores.psnr:.1f} dB   SSIM {scores.ssim:.3f}"


def _save(figure: "Figure", path: Path, title: str) -> None:
    if title:  # an empty one would take room
        figure.suptitle(title, fontsize=10)
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
