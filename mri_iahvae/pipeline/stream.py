"""One scan from file to file, a group of slices at a time: memory does not grow with the volume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.inference.settings import GUIDED, IDLE, InferenceSettings
from mri_iahvae.kspace.sensitivities import calibration_region
from mri_iahvae.pipeline.batches import Batches, make_batches
from mri_iahvae.pipeline.comparison import Comparison
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.output import volume_output
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.pipeline.request import Request
from mri_iahvae.pipeline.steps import Progress
from mri_iahvae.pipeline.target import find_target
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.results.paths import require_other
from mri_iahvae.scans.coil_maps import CoilMaps, open_coil_maps
from mri_iahvae.scans.findings import likeness_doubts, require_consistent, sampling_doubts
from mri_iahvae.scans.frames import open_frames
from mri_iahvae.scans.geometry import Geometry, scan_geometry
from mri_iahvae.scans.noise_level import level_doubts, scan_noise
from mri_iahvae.scans.noise_scan import prewhitened
from mri_iahvae.scans.outliers import without_outliers
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.survey import Survey, survey
from mri_iahvae.scans.undersampling import SampledMask

_LOUD = 0.3  # of a slice's RMS; the estimate is below it in slices without noise, whatever the mask

Start = Callable[[str, int], Progress]
"""Takes the name of a file and its number of slices; gives the function that takes what is finished of them."""


def no_progress(name: str, slices: int) -> Progress:  # noqa: ARG001 - a `Start`
    """Report to nobody."""
    return lambda _: None


def run_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    request: Request,
    settings: InferenceSettings,
    start: Start = no_progress,
) -> dict[str, Any]:
    """Reconstruct or denoise one file.

    Args:
        loaded: the model and where it came from.
        path: the input; of a series a folder of frames, too (`scans.frames`).
        output: where the result goes (`results.paths.output_path`).
        request: what is asked of the scan.
        settings: how it is computed.
        start: called once the file is open, gives the progress to report to.

    Returns:
        The report, plain JSON values.

    Raises:
        ScanError: the file cannot be used.
        UsageError: the request does not fit the file.
        IahvaeError: the output cannot be written.
    """
    require_other(output, (request.sensitivities, request.noise_scan, request.sampling.mask_path))
    scan = _opened(path, request, settings)
    _check_coils(scan, loaded, settings, request)
    hard = settings.data_consistency == "hard"
    rivals = Comparison.of(request.compare, scan, combine=request.combine, hard=hard)
    request.outputs.shown(scan)  # what is wrong with the request comes before what takes time
    own = request.sampling.apply(scan)
    used = replace(scan, mask=own.mask)
    geometry = scan_geometry(scan, own.mask, request.outputs.image_size)
    seen, keep = survey(used), request.reading.keep_outliers
    doubts = (*require_consistent(used, seen, keep_outliers=keep), *sampling_doubts(used))
    doubts += _mask_doubts(used, series=settings.series)
    if seen.outliers and not keep:
        own, used = _without_outliers(own, used, seen, geometry)
    sampled = own.within(geometry, request.up_to)
    maps = _own_maps(request, scan, geometry, sampled)
    weighed = request.task == "denoise" or settings.data_consistency == "soft" or scan.coils > 1
    level = scan_noise(used, geometry, sampled.mask, sigma=request.sigma, relative=request.relative_sigma)
    batches = make_batches(request.batch, loaded.model.gains.device)
    progress = start(path.name, scan.slices)
    size = scan.slices if settings.series else batches.size  # every frame goes by all
    levels, taken = np.zeros(scan.slices), np.zeros(scan.slices)  # of the data, and what the model is given
    kind: dict[str, Any] = {"task": request.task, "coil_combine": request.combine, "maps": maps}
    target = find_target(scan, geometry, sampled, outliers=bool(seen.outliers and not keep), **kind)
    compared = tuple(rivals.multiples)
    with volume_output(output, scan, geometry, sampled, target, request.outputs, compared) as out:
        out.require_shown(settings, guided=loaded.guide is not None)
        for first in range(0, scan.slices, size):
            chosen = slice(first, min(first + size, scan.slices))
            kspace = geometry.reduce(used.read_coils(chosen))  # bins beyond `up_to` go with the mask
            levels[chosen] = sigma = level.of(chosen, kspace)
            taken[chosen] = sigma * (weighed | (sigma > _LOUD * level.root_mean_square(chosen, kspace)))
            held = None if maps is None else maps.read(chosen)
            given: dict[str, Any] = {} if held is None else {"sensitivities": held}
            given |= {"acquired": scan.acquired, "first": first, "batch": batches, "progress": progress}
            mask = sampled.mask if sampled.mask.ndim == 2 else sampled.mask[chosen]
            given["noise_sigma"] = taken[chosen]
            result = _reconstructed(loaded, settings, request, kspace, mask, **given)
            out.add(result, first, rivals.magnitudes(kspace, mask, sigma, held))
        options = _options(loaded, scan, geometry, settings, request, batches)
        compared_with = rivals.stated(float(np.median(levels)), level.source)
        details = {**_details(scan, request), "options": options, "compared": compared_with}
        if weighed or taken.any():
            stated = float(np.median(levels if weighed else taken[taken > 0]))
            details |= {"noise_sigma": stated, "noise_source": level.source}
            if scan.coils > 1:
                doubts += likeness_doubts(scan, seen, stated)
            doubts += level_doubts(used, geometry, sampled.mask, stated, level.source)
        done = replace(settings, method="guide") if scan.coils > 1 else settings
        return out.finish(loaded, done, batches, details, doubts)


def _mask_doubts(used: Scan, *, series: bool) -> tuple[str, ...]:
    own = used.mask.ndim > 2
    if not series:
        return (
            ("the measured bins differ from slice to slice: each slice has a mask of its own",) if own else ()
        )
    if used.slices == 1:
        return ("a single frame is no series: --series changes nothing",)
    return () if own else ("all frames have one mask: without --series their error was lower in tests",)


def _opened(path: Path, request: Request, settings: InferenceSettings) -> Scan:
    frames = settings.series and path.is_dir()
    scan = (open_frames if frames else open_scan)(path, request.reading)
    return scan if request.noise_scan is None else prewhitened(scan, request.noise_scan)


def _without_outliers(
    own: SampledMask, used: Scan, seen: Survey, geometry: Geometry
) -> tuple[SampledMask, Scan]:
    """Without the bins that are outliers; of readout oversampling whole columns, as it is removed of these."""
    reduced = geometry.field != geometry.native
    own = replace(own, mask=without_outliers(used.masks, seen.outliers, columns=reduced))
    return own, replace(used, mask=own.mask)


def _own_maps(request: Request, scan: Scan, geometry: Geometry, sampled: SampledMask) -> CoilMaps | None:
    """The sensitivities that are given; None where they are to be found, which must be possible, or for one coil."""
    if request.sensitivities is not None:
        return open_coil_maps(request.sensitivities, scan, geometry)
    if scan.coils > 1:
        _check_calibration(scan, sampled.mask)
    return None


def _check_coils(scan: Scan, loaded: LoadedModel, settings: InferenceSettings, request: Request) -> None:
    if scan.coils == 1:
        asked = {
            f"--coil-combine {request.coil_combine}": request.coil_combine,
            f"--sensitivities {request.sensitivities}": request.sensitivities,
            "--write-sensitivities": request.outputs.write_sensitivities,
        }
        for name, value in asked.items():
            if value:
                raise UsageError(f"{name}: {scan.path} holds a single coil; leave it out")
        return
    several = f"{scan.path} holds {scan.coils} coils"
    if settings.series:
        raise UsageError(f"--series: {several}; a series is reconstructed of single-coil scans only")
    for name, level in (("--sigma", request.sigma), ("--relative-sigma", request.relative_sigma)):
        if level == 0:
            raise UsageError(f"{name} 0: {several}, whose noise is estimated where no level above 0 is given")
    if settings.data_consistency == "none":
        raise UsageError(
            f"--data-consistency none: {several}, whose bins are never the model's alone; take hard or soft"
        )
    if settings.method not in GUIDED:
        raise UsageError(f"--method {settings.method}: {several}, which the guide estimates; leave it out")
    if loaded.guide is None:
        raise UsageError(f"{loaded.name}: {several}, which need a guide; take a checkpoint that has one")


def _check_calibration(scan: Scan, mask: NDArray[np.bool_]) -> None:
    """Refuse several coils without a centre of k-space to find sensitivities from, before anything is computed."""
    distinct = np.unique(mask.reshape(-1, *mask.shape[-2:]), axis=0, return_index=True)
    for one, number in zip(*distinct, strict=True):
        try:
            calibration_region(torch.from_numpy(one))
        except UsageError as error:
            where = f"slice {number}: " if len(distinct[1]) > 1 else ""
            # What was left out of the file, such as separate calibration, may be what is missing.
            raise ScanError(f"{scan.path}: {where}{'; '.join((str(error), *scan.warnings))}") from None


def _reconstructed(
    loaded: LoadedModel,
    settings: InferenceSettings,
    request: Request,
    kspace: NDArray[np.complex64],
    mask: NDArray[np.bool_],
    **given: Any,  # noqa: ANN401 - of either function
) -> Reconstruction:
    """Of k-space (n, coils, rows, width), of one coil or several."""
    given |= {"guide": loaded.guide, "domain": loaded.domain, "keep_samples": request.keep_samples}
    if kspace.shape[1] == 1:
        return reconstruct_volume(loaded.model, kspace[:, 0], mask, settings, **given, coarse=loaded.coarse)
    given["coil_combine"] = request.combine
    given["keep_kspace"] = request.outputs.write_kspace
    given["keep_sensitivities"] = request.outputs.write_sensitivities
    return reconstruct_coils(loaded.model, kspace, mask, settings, **given)


def _options(
    loaded: LoadedModel,
    scan: Scan,
    geometry: Geometry,
    settings: InferenceSettings,
    request: Request,
    batches: Batches,
) -> dict[str, Any]:
    """Everything that decides the result, defaults filled in, under the names of options and settings; plain JSON."""
    height, width = geometry.image
    asked = request.options(loaded.name, settings)
    if scan.coils > 1:  # of which the guide alone makes the result
        asked = {name: value for name, value in asked.items() if name not in IDLE["guide"]}
    return {
        **asked,
        **request.extras(),
        "coil_combine": request.combine if scan.coils > 1 else None,
        "image_size": f"{height}x{width}",
        "slices": list(request.outputs.shown(scan)),
        "batch": batches.first,
        "device": str(loaded.model.gains.device),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _details(scan: Scan, request: Request) -> dict[str, Any]:
    """Of the task, for the record."""
    details: dict[str, Any] = {"task": request.task, "relative_sigma": request.relative_sigma}
    if scan.notes:
        details["notes"] = "; ".join(scan.notes)
    if scan.coils > 1:
        details |= {"coils": scan.coils, "coil_combine": request.combine}
    if request.up_to:
        details["up_to"] = f"{request.up_to}x{request.up_to}"
    return details
