"""Panels of a result's figure: which there are of a slice, in which window, and which the user asks for."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError
from mri_iahvae.evaluation.metrics import Scores, score
from mri_iahvae.inference.rivals.registry import RIVALS
from mri_iahvae.results.drawing import FORMATS, Panel
from mri_iahvae.results.report import SCORED, image_names


def error_of(name: str) -> str:
    """The panel of the error of an image."""
    return "error" if name == "reconstruction" else f"{name}-error"


_IMAGES = ("reference", "zero-filled", *RIVALS, "reconstruction")
_ERRORS = ("deviation", *map(error_of, _IMAGES[1:]), "removed")
_EXPECTED = "expected-error"
_SPECTRA = ("reference-kspace", "measured-kspace", "completed-kspace")
PANELS = (*_IMAGES, *_ERRORS, _EXPECTED, *_SPECTRA)
"""Names of all panels; "zero-filled" is the noisy image where a scan is denoised."""

_GAINS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # by which errors are brightened
_WHITENED = 2  # per cent of their pixels, at most
_DECADES = 5  # of k-space magnitude, from black to white
_COLOURS = "inferno"
_MAGNITUDE, _LOGARITHM = "magnitude", "log10 |k|"


@dataclass(frozen=True)
class FigureOptions:
    """How the figure of a result looks.

    Attributes:
        figure_format: "png", "pdf" or "svg".
        panels: names of `PANELS`, in this order; none takes all that there are.
        zoom: (row, column, side) of a square box of pixels, the first from its upper left one; it is drawn in the
            images, and enlarged in further panels.
        window: percentile of the pixels of the reference (without one, of the reconstruction) that is white.
        error_factor: by which errors are brightened; None takes the largest of 1, 2, 5, 10 ... 1000 by which at most
            2 % of their pixels turn white.
        contact_sheet: draw the slices of the volume on a sheet of their own, too.

    Raises:
        UsageError: an unknown format or panel.
    """

    figure_format: str = "png"
    panels: tuple[str, ...] = ()
    zoom: tuple[int, int, int] | None = None
    window: float = 100.0
    error_factor: int | None = None
    contact_sheet: bool = False

    def __post_init__(self) -> None:
        """Check the names."""
        if self.figure_format not in FORMATS:
            raise UsageError(f"--figure-format {self.figure_format}: expected one of {', '.join(FORMATS)}")
        for name in self.panels:
            if name not in PANELS:
                raise UsageError(f"--panels {name}: no such panel; the panels are {', '.join(PANELS)}")

    def to_json(self) -> dict[str, Any]:
        """For the record, by the names of the options; plain values."""
        zoom = None if self.zoom is None else list(self.zoom)
        return {**self.__dict__, "panels": list(self.panels), "zoom": zoom}

    def require(self, available: Collection[str], image: tuple[int, int], path: Path) -> None:
        """Refuse what the figure of a scan cannot show.

        Args:
            available: names of the panels that there are of each slice.
            image: (height, width) of the image.
            path: of the scan.

        Raises:
            UsageError: a panel that is not available, a box beyond the image, or an option without effect.
        """
        for name in self.panels:
            if name not in available:
                has = ", ".join(sorted(available, key=PANELS.index))
                raise UsageError(f"--panels {name}: of {path} there are {has}; choose among them")
        shown = set(self.panels or available)
        if self.zoom is not None:
            row, column, side = self.zoom
            if row + side > image[0] or column + side > image[1]:
                raise UsageError(
                    f"--zoom {row},{column},{side}: the image of {path} has {image[0]}x{image[1]} pixels; choose a box "
                    "within"
                )
        for option, given, needed in (
            ("error-factor", self.error_factor is not None, _ERRORS),
            ("zoom", self.zoom is not None, (*_IMAGES, *_ERRORS, _EXPECTED)),
            ("window", self.window != 100 and not self.contact_sheet, (*_IMAGES, *_ERRORS)),
        ):
            if given and not shown & set(needed):
                raise UsageError(
                    f"--{option}: the figure of {path} has none of {', '.join(needed)}; leave it out"
                )


@dataclass(frozen=True)
class Titles:
    """What the panels are called."""

    zero_filled: str = "zero-filled"
    reconstruction: str = "reconstruction"
    measured: str = "measured k-space"
    completed: str = "completed k-space"

    @classmethod
    def of(cls, task: str, coils: int) -> "Titles":
        """The titles of a task.

        Several coils are shown combined: a root sum of squares has a k-space that nobody measured.
        """
        names = image_names(task)
        before, after = (names[name] for name in SCORED)
        if coils > 1:
            measured = f"k-space of the combined\n{before} image, measured bins only"
            return cls(before, after, measured, "k-space of the combined\nresult, all bins")
        if task == "denoise":
            return cls(before, after, "noisy k-space", "denoised k-space")
        return cls()


@dataclass(frozen=True, eq=False)
class SliceView:
    """What a figure can show of one slice; k-space may be larger than the images, and neither need be square."""

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
    compared: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """(h, w), magnitudes by other methods, in the order of the figure; zero-filling may be among them."""
    deviation: NDArray[np.floating] | None = None
    """(h, w), standard deviation of posterior samples; adds its image, as bright as the errors."""
    expected: NDArray[np.floating] | None = None
    """(h, w), expected error of regions, NaN where it is not known; adds its image, in colours."""
    removed: NDArray[np.floating] | None = None
    """(h, w), magnitude of what the measured bins lost in denoising; its image takes the place of missing errors."""

    def panels(self, titles: Titles, options: FigureOptions) -> dict[str, Panel]:
        """All panels, by name. Scores in titles are this slice's, its data range being its own."""
        named = {name: RIVALS[name].title for name in self.compared if name in RIVALS}
        named |= {"zero-filled": titles.zero_filled, "reconstruction": titles.reconstruction}
        images = {"zero-filled": self.zero_filled, **self.compared, "reconstruction": self.reconstruction}
        white = _white(self.reconstruction if self.reference is None else self.reference, options.window)
        errors, captions = {}, named
        if (reference := self.reference) is not None:
            captions = {"reference": "reference"}
            for name, image in images.items():
                scores = score_lines(score(reference[None], image[None]))
                captions[name] = "\n".join((named[name], *scores))
            errors = {error_of(name): np.abs(image - reference) for name, image in images.items()}
            images["reference"] = reference
        if self.removed is not None:
            errors["removed"] = self.removed
        deviation = {} if self.deviation is None else {"deviation": self.deviation}
        gain = options.error_factor or _gain((errors or deviation).values(), white)
        called = {error_of(name): f"error of {title}" for name, title in named.items()}
        called |= {"deviation": "standard deviation", "removed": "removed"}
        return {
            **{name: Panel(captions[name], image, 0, white, _MAGNITUDE) for name, image in images.items()},
            **{
                name: Panel(f"{called[name]} x{gain}", image, 0, white / gain, _MAGNITUDE)
                for name, image in (errors | deviation).items()
            },
            **self._expected_panel(),
            **self._spectra(titles),
        }

    def _expected_panel(self) -> dict[str, Panel]:
        """In a window of its own: means over regions are smaller than the errors of single pixels."""
        if self.expected is None:
            return {}
        white = float(np.nan_to_num(self.expected).max()) or 1.0
        return {_EXPECTED: Panel("expected error", self.expected, 0, white, _MAGNITUDE, colours=_COLOURS)}

    def _spectra(self, titles: Titles) -> dict[str, Panel]:
        """Log-magnitudes in one window, five decades below the largest bin."""
        spectra = {
            "measured-kspace": (titles.measured, self.measured),
            "completed-kspace": (titles.completed, self.completed),
        }
        if self.reference_kspace is not None:
            spectra["reference-kspace"] = ("reference k-space", self.reference_kspace)
        peak = np.log10(max(float(np.abs(kspace).max()) for _, kspace in spectra.values()) or 1.0)
        black = peak - _DECADES
        return {
            name: Panel(title, np.log10(np.maximum(np.abs(kspace), 10**black)), black, peak, _LOGARITHM)
            for name, (title, kspace) in spectra.items()
        }


def score_lines(scores: Scores) -> tuple[str, ...]:
    """Scores in words, as two short lines; or why there are none, in one."""
    if not math.isfinite(scores.nmse):
        return ("no scores: the reference is zero",)
    return f"NMSE {scores.nmse:#.3g}   SSIM {scores.ssim:.3f}", f"PSNR {scores.psnr:.1f} dB"


def slice_rows(
    view: SliceView, titles: Titles, options: FigureOptions, pixel: float | None
) -> list[list[Panel]]:
    """Rows of the panels of a slice: those asked for in that order, else all; then what the zoom box holds of them.

    `pixel` is the width of one in mm: the first image has a scale bar, where it is known.
    """
    panels = view.panels(titles, options)
    in_columns = view.compared and not options.panels
    rows = _in_columns(view) if in_columns else _balanced(options.panels or _arranged(panels))
    boxed = [name for row in rows for name in row if name not in _SPECTRA]
    if boxed:
        panels[boxed[0]] = replace(panels[boxed[0]], pixel=pixel)
    if options.zoom is None:
        return [[panels[name] for name in row] for row in rows]
    panels |= {name: replace(panels[name], box=options.zoom) for name in boxed}
    below = [[name for name in row if name in boxed] for row in rows] if in_columns else _balanced(boxed)
    return [
        *([panels[name] for name in row] for row in rows),
        *([panels[name].enlarged() for name in row] for row in below),
    ]


def _in_columns(view: SliceView) -> list[list[str]]:
    """Names of the panels of a comparison: errors below their images, what was measured below the reference."""
    images = [*view.compared, "reconstruction"]
    last = [] if view.deviation is None else ["deviation"]
    if view.reference is None:
        return [[*images, *last]]
    return [["reference", *images], ["measured-kspace", *map(error_of, images), *last]]


def _arranged(panels: Mapping[str, Panel]) -> list[str]:
    """Names of the panels that are shown by default, in an order that `_balanced` makes a grid of."""
    images, errors, spectra = (
        [name for name in kind if name in panels] for kind in (_IMAGES, (*_ERRORS, _EXPECTED), _SPECTRA)
    )
    if "error" in errors and "removed" in errors:
        errors.remove("removed")
    if len(errors) == 2 and len(images) == len(spectra):  # a column of errors beside images and k-space
        return [*images, errors[0], *spectra, errors[1]]
    return [*images, *errors, *spectra]


def _balanced(names: Sequence[str]) -> list[list[str]]:
    """In rows of nearly equal length: up to five in one, else up to four in each, the later rows the longer ones."""
    count = 1 if len(names) <= 5 else -(-len(names) // 4)
    ends = [len(names) * row // count for row in range(count + 1)]
    return [list(names[first:end]) for first, end in pairwise(ends)]


def _white(image: NDArray[np.floating], percentile: float) -> float:
    """Upper end of a grey window; an image that is mostly zero has its maximum there, an empty one 1."""
    return float(np.percentile(image, percentile)) or float(image.max()) or 1.0


def _gain(images: Iterable[NDArray[np.floating]], white: float) -> int:
    """Factor that brightens faint images of one scale: what it takes beyond white stays rare."""
    pixels = [image.ravel() for image in images]
    level = np.percentile(np.concatenate(pixels), 100 - _WHITENED) / white if pixels else np.inf
    return max((gain for gain in _GAINS if gain * level <= 1), default=1)
