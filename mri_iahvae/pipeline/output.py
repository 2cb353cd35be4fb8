"""What a volume leaves behind: the HDF5 file, the figure and more on request, and the report."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError
from mri_iahvae.evaluation.metrics import RunningScores, Scores
from mri_iahvae.files import name_as_text, write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.out_of_distribution import domain_warnings
from mri_iahvae.pipeline.volume import Reconstruction, volume_warnings
from mri_iahvae.results.figures import SliceView, kspace_figure, plain_text
from mri_iahvae.results.gif import scale_gif
from mri_iahvae.results.hdf5 import ReconstructionFile, reconstruction_file
from mri_iahvae.results.nifti import place, write_nifti
from mri_iahvae.results.optional_files import KINDS, optional_path, optional_paths, remove
from mri_iahvae.results.provenance import provenance
from mri_iahvae.results.wording import image_names, panel_titles
from mri_iahvae.scans.geometry import MIN_SIDE, Geometry, reference_fits
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.undersampling import SampledMask


@dataclass(frozen=True)
class Outputs:
    """What is written beside the HDF5 file, and the size of the images.

    Attributes:
        nifti: write `<stem>.nii.gz` too.
        gif: write `<stem>_scales.gif` too, coarse to fine.
        slices: those in the figure and the GIF; none takes the middle one.
        image_size: (height, width) of the image; None takes that of the reference, else the header's.
    """

    nifti: bool = False
    gif: bool = False
    slices: tuple[int, ...] = ()
    image_size: tuple[int, int] | None = None

    def shown(self, scan: Scan) -> tuple[int, ...]:
        """Numbers of the slices to show.

        Raises:
            UsageError: the scan has no such slice.
        """
        for number in self.slices:
            if not 0 <= number < scan.slices:
                raise UsageError(
                    f"--slices {number}: {scan.path} has slices 0 to {scan.slices - 1}; choose among them"
                )
        return self.slices or (scan.slices // 2,)


PLAIN = Outputs()


class VolumeOutput:
    """Takes a volume group by group of slices; scores, draws and writes it. See `volume_output`.

    Args:
        file: that is written.
        path: its final name; all other files stand beside it.
        scan: the input.
        geometry: of its image.
        sampled: the bins of it that were used.
        outputs: what is wanted.
    """

    def __init__(
        self,
        file: ReconstructionFile,
        path: Path,
        scan: Scan,
        geometry: Geometry,
        sampled: SampledMask,
        outputs: Outputs,
    ) -> None:
        self._file, self._path, self._scan, self._geometry = file, path, scan, geometry
        self._sampled, self._outputs = sampled, outputs
        self._shown = outputs.shown(scan)
        self._views: dict[int, SliceView] = {}
        self._parts: list[tuple[Reconstruction, int]] = []
        self._reference_doubt = _reference_doubt(scan, geometry)
        self._scores: dict[str, RunningScores] = {}
        # A sample of the prior, not of this scan, is compared with nothing.
        if scan.reference is not None and not self._reference_doubt and sampled.mask.any():
            peak = max(float(self._reference(slice(i, i + 1)).max()) for i in range(scan.slices))
            if peak > 0:
                self._scores = {name: RunningScores(peak) for name in ("zero-filled", "reconstruction")}

    def add(self, result: Reconstruction, first: int) -> None:
        """Take the next slices.

        Args:
            result: of consecutive slices.
            first: number of the first of them.

        Raises:
            IahvaeError: values that are not finite, or that cannot be written.
        """
        image = self._geometry.crop(result.image)
        baseline = self._geometry.crop(ifft2c(torch.from_numpy(result.zero_filled)).abs().numpy())
        std = None if result.std is None else self._geometry.crop(result.std)
        chosen = slice(first, first + len(image))
        arrays = {"reconstruction": np.abs(image), "image": image, "canonical_factor": result.factors}
        if std is not None:
            arrays["reconstruction_std"] = std
        if result.samples is not None:
            arrays["samples"] = self._geometry.crop(result.samples)
        self._file.append(**arrays)
        reference = self._reference(chosen) if self._scores else None
        if reference is not None:
            for name, values in (("zero-filled", baseline), ("reconstruction", np.abs(image))):
                self._scores[name].add(reference, values)
        for number in self._shown:
            if chosen.start <= number < chosen.stop:
                i = number - first
                self._views[number] = SliceView(
                    number=number,
                    zero_filled=baseline[i],
                    reconstruction=np.abs(image[i]),
                    measured=np.where(
                        self._sampled.mask, result.zero_filled[i], 0
                    ),  # coils combined fill holes
                    completed=result.kspace[i],
                    reference=None if reference is None else reference[i],
                    reference_kspace=self._left_out(number) if reference is not None else None,
                    deviation=None if std is None else std[i],
                )
        self._parts.append((_without_arrays(result), len(image)))

    def finish(
        self,
        loaded: LoadedModel,
        settings: InferenceSettings,
        batches: Batches,
        details: dict[str, Any],
        doubts: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write the rest.

        Args:
            loaded: the model.
            settings: how it was computed.
            batches: how many slices at a time.
            details: of the task, for the record.
            doubts: further warnings of the task.

        Returns:
            The report, plain JSON values: everything that reproduces the run, shares, scores and warnings. It is
            written too, as `<stem>_report.json`.

        Raises:
            IahvaeError: an output cannot be written.
        """
        scan, sampled = self._scan, self._sampled
        results = [result for result, _ in self._parts]
        weights = np.array([count for _, count in self._parts]) / scan.slices
        shares = {
            name: float(sum(w * r.shares[name] for w, r in zip(weights, results, strict=True)))
            for name in results[0].shares
        }
        steps = np.sum([w * r.steps for w, r in zip(weights, results, strict=True)], axis=0)
        fit = np.concatenate([r.fit for r in results])
        silent, unknown, bounded = (
            np.concatenate([getattr(r, name) for r in results]) for name in ("silent", "unknown", "bounded")
        )
        scores = {name: running.scores() for name, running in self._scores.items()}
        record: dict[str, Any] = {
            **{key: value for key, value in details.items() if value is not None},
            **sampled.to_json(),
            **settings.in_effect(),
            "model": loaded.name,
            "model_sha256": loaded.sha256,
            "grid": loaded.model.size,
            "field": list(self._geometry.field),
            **provenance(loaded.model.gains.device),
            **{f"share_{name}": share for name, share in shares.items()},
        }
        flat = {f"{name} {key}": value for name, s in scores.items() for key, value in s.to_dict().items()}
        attributes = {key: value for key, value in {**record, **flat}.items() if value is not None}
        attributes["input"] = name_as_text(scan.path)  # without its folder: a result may be given away
        if "options" in record:
            attributes["options"] = json.dumps(record["options"])
        attributes |= {"steps_used": steps, "fit": fit, "bounded": bounded}
        attributes["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        beside, notes = self._write_beside(details["task"], scores, loaded.model.size)
        self._file.finish(attributes, mask=_shortest(sampled.mask))
        report_path = self._path.with_name(self._path.stem + "_report.json")
        report = {
            "input": str(scan.path),
            "output": str(self._path),
            **beside,
            "report": str(report_path),
            "slices": scan.slices,
            **record,
            "steps_used": steps.tolist(),
            "fit": [None if math.isnan(value) else value for value in fit.tolist()],  # JSON knows no NaN
            "bounded": np.flatnonzero(bounded).tolist(),
            "scores": {name: s.to_dict() for name, s in scores.items()},
            "warnings": [
                *scan.warnings,
                *self._geometry.warnings,
                *sampled.warnings,
                *volume_warnings(loaded.model.size, silent, unknown, bounded, batches, settings),
                *loaded.warnings,
                *domain_warnings(fit, loaded.domain),
                *doubts,
                *notes,
                *self._doubts(details, settings, shares, silent, loaded.model.size),
            ],
        }
        write_json(report_path, report)
        return report

    def _write_beside(
        self, task: str, scores: dict[str, Scores], grid: int
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """All files but the HDF5 file, which comes last: where it is, everything is. Their paths by kind, notes."""
        picture = self._path.with_name(self._path.stem + "_kspace.png")
        views = [self._views[number] for number in self._shown]
        kspace_figure(
            picture,
            views,
            titles=panel_titles(task, self._scan.coils),
            scores={image_names(task)[name]: values for name, values in scores.items()},
            title=plain_text(self._scan.path.name),
        )
        paths = {"picture": picture}
        notes: tuple[str, ...] = ()
        if self._outputs.gif:
            paths["gif"] = optional_path(self._path, "gif")
            scale_gif(
                paths["gif"], np.stack([view.completed for view in views]), grid, crop=self._geometry.crop
            )
        if self._outputs.nifti:
            paths["nifti"] = optional_path(self._path, "nifti")
            images, scan = self._file.dataset("reconstruction"), self._scan
            affine = None if scan.affine is None else self._geometry.affine(scan.affine)
            placement = place(images.shape, scan.header, affine)
            write_nifti(paths["nifti"], images, placement)
            notes = (f"{paths['nifti'].name}: {placement.note}",) if placement.note else ()
        return {name: str(path) for name, path in paths.items()}, notes

    def _doubts(
        self,
        details: dict[str, Any],
        settings: InferenceSettings,
        shares: dict[str, float],
        silent: NDArray[np.bool_],
        grid: int,
    ) -> Iterator[str]:
        if self._reference_doubt:
            yield self._reference_doubt
        if details.get("noise_source") == "estimate" and details["noise_sigma"] == 0:
            yield "too little is measured to estimate the noise: taken as none"
        idle = shares["completed"] == 0 and shares["measured"] > 0 and not silent.all()
        if idle and settings.data_consistency == "hard":
            yield "every bin that the model could add is measured, so the result is the data: see --up-to, denoise"
        if details["task"] == "denoise" and max(self._geometry.field) > grid:
            yield f"bins beyond the central {grid}x{grid} keep their noise"

    def _reference(self, chosen: slice) -> NDArray[np.float32]:
        images = self._scan.read_reference(chosen)
        height, width = self._geometry.image
        top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        return images[:, top : top + height, left : left + width]

    def _left_out(self, number: int) -> NDArray[np.complex64] | None:
        """k-space that the scan holds and this run left out, shown beside the reference."""
        scan = self._scan
        used = self._sampled.mask[:, slice(*scan.acquired)]
        if not scan.fully_sampled or used.all() or scan.coils > 1:
            return None
        return self._geometry.reduce(scan.read(number))[0]


@contextmanager
def volume_output(
    path: Path, scan: Scan, geometry: Geometry, sampled: SampledMask, outputs: Outputs = PLAIN
) -> Iterator[VolumeOutput]:
    """The output of a volume, which exists once it is whole, and then replaces that of an earlier run.

    Args:
        path: HDF5 file to write; the figure is `<stem>_kspace.png` beside it.
        scan: the input.
        geometry: of its image.
        sampled: the bins of it that were used; stored as the dataset `mask`.
        outputs: what is wanted.

    Raises:
        ScanError: the reference cannot be read.
        IahvaeError: an output cannot be written.
    """
    earlier = optional_paths(path)
    with reconstruction_file(path, scan.slices) as file:
        yield VolumeOutput(file, path, scan, geometry, sampled, outputs)
    remove(earlier - {optional_path(path, kind) for kind in KINDS if getattr(outputs, kind)})


def _without_arrays(result: Reconstruction) -> Reconstruction:
    """What is kept of slices that are written: nothing of their size."""
    nothing = np.empty(0, np.complex64)
    return replace(result, image=nothing, kspace=nothing, zero_filled=nothing, std=None, samples=None)


def _reference_doubt(scan: Scan, geometry: Geometry) -> str:
    """Why the reference cannot be compared with the result; nothing where it can."""
    if scan.reference is None:
        return ""
    (rows, columns), size = scan.reference, geometry.image
    if not reference_fits(scan):
        expected = f"from {MIN_SIDE}x{MIN_SIDE} to the {geometry.native[0]}x{geometry.native[1]} of k-space"
        return f"the reference is {rows}x{columns}, expected {expected}: not used"
    if rows < size[0] or columns < size[1] or min(size) < MIN_SIDE:
        return f"the reference is {rows}x{columns}, the image {size[0]}x{size[1]}: not compared"
    return ""


def _shortest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of columns as fastMRI stores it, (width,); another one as it is."""
    return mask[0].copy() if (mask == mask[0]).all() else mask
