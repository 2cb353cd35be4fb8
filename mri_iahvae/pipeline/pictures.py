"""Pictures of a volume that passes group by group: the figure of some slices, the contact sheet, GIFs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.inference.settings import GUIDED, InferenceSettings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.target import Target
from mri_iahvae.results.figures import kspace_figure, plain_text, profile_figure, sheet_figure
from mri_iahvae.results.gif import cine_gif, scale_gif
from mri_iahvae.results.panels import FigureOptions, SliceView, Titles, error_of
from mri_iahvae.results.paths import beside
from mri_iahvae.results.report import Record, image_names
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.undersampling import SampledMask

if TYPE_CHECKING:
    import h5py

MOST_ON_SHEET = 64
"""Slices on a contact sheet; of more, as many at equal distances."""
_SHEET_PIXELS = 192  # of a slice on it: larger images are averaged over blocks, so that memory is bounded


class Pictures:
    """What is shown of a volume.

    Args:
        scan: the input, and so on as in `output.volume_output`.
        numbers: of the slices in the figure and the GIF.
        options: of the figure.
    """

    def __init__(
        self,
        scan: Scan,
        geometry: Geometry,
        sampled: SampledMask,
        target: Target,
        numbers: Sequence[int],
        options: FigureOptions,
        compared: tuple[str, ...],
    ) -> None:
        self._scan, self._geometry, self._sampled, self._target = scan, geometry, sampled, target
        self._options, self._compared = options, compared
        self._views: dict[int, SliceView | None] = dict.fromkeys(numbers)
        self._series: dict[str, NDArray[np.float32]] = {}

    def require(self, settings: InferenceSettings, *, guided: bool) -> None:
        """Refuse options that do not fit the scan, before anything is computed.

        Raises:
            UsageError: see `FigureOptions.require`.
        """
        images = {"zero-filled", *self._compared}
        available = {*images, "reconstruction", "measured-kspace", "completed-kspace"}
        if self._target.source:
            available |= {"reference", "error", *map(error_of, images)}
            if all(map(self._leaves_out, self._views)):
                available.add("reference-kspace")
        if guided and settings.method in GUIDED and self._scan.coils == 1:
            available.add("expected-error")
        if settings.samples > 1:
            available.add("deviation")
        if settings.data_consistency == "soft":
            available.add("removed")
        self._options.require(available, self._geometry.image, self._scan.path)

    def add(
        self,
        result: Reconstruction,
        first: int,
        magnitudes: Mapping[str, NDArray[np.float32]],
        reference: NDArray[np.float32] | None,
    ) -> None:
        """Take what is shown of the next slices.

        Args:
            result: of consecutive slices.
            first: number of the first of them.
            magnitudes: (n, height, width), cropped, of the zero-filled images, of what it is compared with, and of the
                result, by name.
            reference: the same; None where there is none.
        """
        crop = self._geometry.crop
        if result.settings.series:  # which comes as a whole
            known = {} if reference is None else {"reference": reference}
            self._series = {**known, **magnitudes}
        for number in self._views.keys() & set(range(first, first + len(result.image))):
            i, used = number - first, self._sampled.of(number)
            soft = result.settings.data_consistency == "soft"
            removed = np.where(used, result.zero_filled[i] - result.kspace[i], 0)
            left_out = reference is not None and self._leaves_out(number)
            self._views[number] = SliceView(
                number=number,
                zero_filled=magnitudes["zero-filled"][i],
                reconstruction=magnitudes["reconstruction"][i],
                compared={name: magnitudes[name][i] for name in self._compared},
                # Of several coils it is k-space of their combination, which fills missing bins.
                measured=np.where(used, result.zero_filled[i], 0),
                completed=result.kspace[i],
                reference=None if reference is None else reference[i],
                reference_kspace=self._geometry.reduce(self._scan.read(number))[0] if left_out else None,
                deviation=None if result.std is None else crop(result.std[i]),
                expected=None if result.expected_error is None else crop(result.expected_error[i]),
                removed=crop(magnitude_of(removed)) if soft else None,
            )

    def _leaves_out(self, number: int) -> bool:
        """Whether the scan holds k-space that this run left out, which is shown beside the reference."""
        scan = self._scan
        used = self._sampled.of(number)[:, slice(*scan.acquired)]
        return scan.fully_sampled and not used.all() and scan.coils == 1

    def write(
        self, path: Path, record: Record, images: "h5py.Dataset", *, gif: bool, grid: int
    ) -> dict[str, Path]:
        """Write the pictures; returns their paths by kind.

        Args:
            path: of the result.
            record: what it says of itself.
            images: its magnitudes (slices, height, width), read one by one.
            gif: write the animation of the scales, too.
            grid: side of the model's grid.

        Raises:
            IahvaeError: one cannot be written.
        """
        scan, task, figure_format = self._scan, record.settings["task"], self._options.figure_format
        name, caption = plain_text(scan.path.name), plain_text(record.caption())
        files = {"picture": beside(path, "picture", figure_format)}
        views = [view for view in self._views.values() if view is not None]
        kspace_figure(
            files["picture"],
            views,
            titles=Titles.of(task, scan.coils),
            scores={image_names(task)[kind]: values for kind, values in record.scores.items()},
            title=name,
            caption=caption,
            options=self._options,
            pixel=None if scan.voxel is None else scan.voxel[2],
        )
        if self._options.contact_sheet:
            files["contact_sheet"] = beside(path, "contact_sheet", figure_format)
            self._write_sheet(files["contact_sheet"], images, f"{name}\n{caption}")
        if gif:
            files["gif"] = beside(path, "gif")
            kspace = np.stack([view.completed for view in views])
            scale_gif(files["gif"], kspace, grid, crop=self._geometry.crop)
        if self._series:
            files |= self._write_series(path, f"{name}\n{caption}")
        return files

    def _write_series(self, path: Path, title: str) -> dict[str, Path]:
        """The animation and the time profile, in the window of the reference, without one of the reconstruction."""
        figure_format = self._options.figure_format
        files = {"cine": beside(path, "cine"), "profile": beside(path, "profile", figure_format)}
        judged = self._series.get("reference", self._series["reconstruction"])
        white = float(np.percentile(judged, self._options.window)) or 1.0
        cine_gif(files["cine"], self._series, white)
        profile_figure(files["profile"], self._series, title, white=white, figure_format=figure_format)
        return files

    def _write_sheet(self, path: Path, images: "h5py.Dataset", title: str) -> None:
        """All slices, in one grey window."""
        count = min(len(images), MOST_ON_SHEET)
        numbers = np.linspace(0, len(images) - 1, count).round().astype(int)
        shown = {f"{number}": _averaged(images[number]) for number in numbers}
        white = float(np.percentile(np.stack(list(shown.values())), self._options.window))
        if count < len(images):
            title += f"\n{count} of {len(images)} slices"
        sheet_figure(path, shown, title, white=white, figure_format=self._options.figure_format)


def magnitude_of(kspace: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Of the image of k-space (..., H, W)."""
    magnitude: NDArray[np.float32] = ifft2c(torch.from_numpy(kspace)).abs().numpy()
    return magnitude


def _averaged(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An image (H, W) averaged over blocks, so that it has at most the pixels of a slice on a sheet.

    Blocks are square, but where a side is shorter than they are.
    """
    height, width = (min(n, -(-max(image.shape) // _SHEET_PIXELS)) for n in image.shape)
    rows, columns = image.shape[0] // height, image.shape[1] // width
    blocks = image[: rows * height, : columns * width].reshape(rows, height, columns, width)
    averaged: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return averaged
