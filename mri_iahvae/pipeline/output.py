"""From reconstructed slices to files: the HDF5 file, the figure, more on request, and the report."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import RunningScores
from mri_iahvae.inference.settings import GUIDED, InferenceSettings
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.out_of_distribution import ASPECTS
from mri_iahvae.pipeline.pictures import Pictures, magnitude_of
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.request import PLAIN, Outputs
from mri_iahvae.pipeline.target import Target
from mri_iahvae.pipeline.volume_warnings import volume_warnings
from mri_iahvae.results.dicom import write_dicom
from mri_iahvae.results.hdf5 import ResultFile, result_file
from mri_iahvae.results.nifti import place, write_nifti
from mri_iahvae.results.paths import beside, files_beside, remove
from mri_iahvae.results.provenance import provenance
from mri_iahvae.results.report import SCORED, Record
from mri_iahvae.results.sidecar import write_sidecar
from mri_iahvae.scans.coil_maps import MAPS, as_stored
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.scan import KSPACE, Scan
from mri_iahvae.scans.undersampling import SampledMask


class VolumeOutput:
    """Takes a volume group by group of slices; scores, draws and writes it.

    Args:
        file: that is written.
        path: its final name, and so on: as in `volume_output`.
    """

    def __init__(
        self,
        file: ResultFile,
        path: Path,
        scan: Scan,
        geometry: Geometry,
        sampled: SampledMask,
        target: Target,
        outputs: Outputs,
        compared: tuple[str, ...],
    ) -> None:
        self._file, self._path, self._outputs = file, path, outputs
        self._scan, self._geometry, self._sampled = scan, geometry, sampled
        shown = outputs.shown(scan), outputs.figure, compared
        self._pictures = Pictures(scan, geometry, sampled, target, *shown)
        self._done: list[tuple[Any, ...]] = []
        self._target = target
        before, after = SCORED
        scored = dict.fromkeys((before, *compared, after)) if target.source else ()
        self._scores = {name: RunningScores(target.peak) for name in scored}

    def require_shown(self, settings: InferenceSettings, *, guided: bool) -> None:
        """Refuse options of the figure that do not fit the scan, as a UsageError; before anything is computed."""
        self._pictures.require(settings, guided=guided)

    def add(self, result: Reconstruction, first: int, rivals: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the next slices.

        Args:
            result: of consecutive slices.
            first: number of the first of them.
            rivals: magnitudes of the same slices by the methods that stand beside it.

        Raises:
            IahvaeError: values that are not finite, or that cannot be written.
        """
        crop = self._geometry.crop
        image = crop(result.image)
        magnitude = np.abs(image)
        others = {name: crop(values) for name, values in rivals.items()}
        before, after = SCORED
        magnitudes = {before: crop(magnitude_of(result.zero_filled)), **others, after: magnitude}
        arrays = {"reconstruction": magnitude, "image": image, "canonical_factor": result.factors}
        arrays |= {f"compare/{name}": values for name, values in others.items()}
        if result.std is not None:
            arrays["reconstruction_std"] = crop(result.std)
        if result.expected_error is not None:
            arrays["expected_error"] = crop(result.expected_error)
        if result.samples is not None:
            arrays["samples"] = crop(result.samples)
        if self._outputs.write_kspace:
            arrays[KSPACE] = self._native_kspace(result, first)
        if result.sensitivities is not None:
            arrays[MAPS] = as_stored(result.sensitivities, self._scan)
        self._file.append(**arrays)
        numbers = range(first, first + len(image))
        reference = np.stack([self._target.image(i) for i in numbers]) if self._scores else None
        if reference is not None:
            for name, scores in self._scores.items():
                scores.add(reference, magnitudes[name])
        self._pictures.add(result, first, magnitudes, reference)
        flags = result.zero_signal, result.unmeasured, result.bounded
        judged = result.out_of_distribution, result.beyond_training
        self._done.append((len(image), result.fractions, result.steps, *flags, *judged))

    def _native_kspace(self, result: Reconstruction, first: int) -> NDArray[np.complex64]:
        """Completed k-space of slices, of each coil where there are several, with readout oversampling."""
        geometry, coils = self._geometry, result.coil_kspace
        kspace = geometry.expand(result.kspace[:, None] if coils is None else coils)
        # Measured columns hold what lies beyond the field, too.
        if geometry.field != geometry.native and result.settings.data_consistency == "hard":
            for number, bins in enumerate(kspace, first):
                columns = self._sampled.of(number).all(axis=0)
                bins[..., columns] = self._scan.read_coils(number)[0][..., columns]
        return kspace[:, 0] if coils is None else kspace

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
            The report, plain JSON values: everything that reproduces the run, fractions, scores and warnings. It is
            written too, as `<stem>_report.json`.

        Raises:
            IahvaeError: an output cannot be written.
        """
        scan, sampled, grid = self._scan, self._sampled, loaded.model.size
        counts, parts, steps, *lists = zip(*self._done, strict=True)
        weights = np.array(counts) / scan.slices
        fractions = {
            name: float(sum(w * s[name] for w, s in zip(weights, parts, strict=True))) for name in parts[0]
        }
        zero_signal, _, bounded, score, beyond = flags = [np.concatenate(one) for one in lists]
        record = Record(
            source=scan.path,
            slices=scan.slices,
            settings={
                **{key: value for key, value in details.items() if value is not None},
                **sampled.to_json(),
                **settings.in_effect(),
                "model": loaded.name,
                "model_sha256": loaded.sha256,
                **loaded.parts_sha256,
                **self._interval(loaded, settings),
                "grid": grid,
                "field": list(self._geometry.field),
                **provenance(loaded.model.gains.device),
                **{f"fraction_{name}": fraction for name, fraction in fractions.items()},
                **({"scored_against": self._target.source} if self._scores else {}),
            },
            steps=np.tensordot(weights, np.stack(steps), 1),
            out_of_distribution=score,
            beyond_training=dict(zip(ASPECTS, beyond.T, strict=True)),
            bounded=bounded,
            scores={name: running.scores() for name, running in self._scores.items()},
        )
        files, notes = self._write_beside(record, grid)
        carried: dict[str, str | float] = {}
        datasets: dict[str, NDArray | str] = {"mask": _shortest(sampled.mask)}
        if self._outputs.write_kspace:
            carried |= scan.attributes
            if (header := scan.source.header_text()) is not None:
                datasets["ismrmrd_header"] = header
        self._file.finish({**carried, **record.attributes()}, **datasets)
        warnings = [
            *scan.warnings,
            *self._geometry.warnings,
            *sampled.warnings,
            *loaded.warnings,
            *volume_warnings(grid, *flags, domain=loaded.domain, batches=batches, settings=settings),
            *doubts,
            *notes,
            *self._doubts(
                details, settings, fractions, None if loaded.guide else grid, nothing=bool(zero_signal.all())
            ),
        ]
        return record.write_report(self._path, files, warnings)

    def _interval(self, loaded: LoadedModel, settings: InferenceSettings) -> dict[str, float]:
        """Of the expected errors, where they were written and the model has intervals."""
        found = loaded.intervals if self._scan.coils == 1 and settings.method in GUIDED else None
        return {} if found is None else {"interval_level": found.level, "interval_factor": found.factor}

    def _write_beside(self, record: Record, grid: int) -> tuple[dict[str, Path], tuple[str, ...]]:
        """All files but the HDF5 file, which comes last: where it is, everything is. Their paths by kind, notes."""
        scan, geometry = self._scan, self._geometry
        images = self._file.dataset("reconstruction")
        files = self._pictures.write(self._path, record, images, gif=self._outputs.gif, grid=grid)
        affine = None if scan.affine is None else geometry.affine(scan.affine)
        placement = place(scan.voxel, affine)
        notes = {}
        if self._outputs.nifti:
            files |= {kind: beside(self._path, kind) for kind in ("nifti", "sidecar")}
            write_nifti(files["nifti"], images, placement)
            write_sidecar(files["sidecar"], record, scan)
            notes["nifti"] = placement.note
        if self._outputs.dicom:
            files["dicom"] = beside(self._path, "dicom")
            how = scan.voxel, scan.path, record.derivation()
            notes["dicom"] = write_dicom(files["dicom"], images, placement, *how) or placement.note
        return files, tuple(f"{files[kind].name}: {note}" for kind, note in notes.items() if note)

    def _doubts(
        self,
        details: dict[str, Any],
        settings: InferenceSettings,
        fractions: dict[str, float],
        grid: int | None,
        *,
        nothing: bool,
    ) -> Iterator[str]:
        """Warnings; `grid`: what the model is confined to; `nothing`: no slice has any signal."""
        mismatch = [running.mismatch.text() for running in self._scores.values()][-1:]  # of the result
        yield from filter(None, [self._target.doubt, *mismatch])
        if details.get("noise_source") == "estimate" and details["noise_sigma"] == 0:
            yield "too little is measured to estimate the noise: taken as none"
        idle = fractions["completed"] == 0 and fractions["measured"] > 0 and not nothing
        if idle and settings.data_consistency == "hard":
            yield "every bin that the model could add is measured, so the result is the data: see --up-to, denoise"
        if details["task"] == "denoise" and grid is not None and max(self._geometry.field) > grid:
            yield f"bins beyond the central {grid}x{grid} keep their noise"


@contextmanager
def volume_output(
    path: Path,
    scan: Scan,
    geometry: Geometry,
    sampled: SampledMask,
    target: Target,
    outputs: Outputs = PLAIN,
    compared: tuple[str, ...] = (),
) -> Iterator[VolumeOutput]:
    """The output of a volume, which exists once it is whole, and then replaces that of an earlier run.

    Args:
        path: HDF5 file to write; the figure is `<stem>_kspace.png` (or `.pdf`, `.svg`) beside it.
        scan: the input.
        geometry: of its image.
        sampled: the bins of it that were used; stored as the dataset `mask`.
        target: what it is scored against.
        outputs: what is wanted.
        compared: names of the methods that stand beside the result, in the order of the figure.

    Raises:
        ScanError: the reference cannot be read.
        IahvaeError: an output cannot be written.
    """
    earlier = files_beside(path)
    with result_file(path, scan.slices) as file:
        yield VolumeOutput(file, path, scan, geometry, sampled, target, outputs, compared)
    remove(earlier - files_beside(path))


def _shortest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of columns as fastMRI stores it, (width,), or (slices, width) where they differ; another as it is."""
    return mask[..., 0, :].copy() if (mask == mask[..., :1, :]).all() else mask
