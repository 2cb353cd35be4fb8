"""One scan from file to file, a group of slices at a time: memory does not grow with the volume."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.multicoil import CoilCombine, reconstruct_coils
from mri_iahvae.tasks.noise_level import level_doubts, scan_noise
from mri_iahvae.tasks.output import PLAIN, Outputs, volume_output
from mri_iahvae.tasks.sampling import OWN_SAMPLING, Sampling
from mri_iahvae.tasks.volume import Progress, make_batches, reconstruct_volume

Start = Callable[[str, int], Progress]
"""Told a file's name and number of slices, gives the progress to report to."""


@dataclass(frozen=True)
class Request:
    """What is asked of a scan, beside the settings of the inference.

    Attributes:
        task: "reconstruct" or "denoise", for the record.
        sampling: which of the file's bins count as measured.
        up_to: use the measured bins of block B_s only.
        noisy: take the noise level into account.
        sigma: noise level per real and imaginary part, in the units of the file; None takes the next one that is
            there:
        relative: noise level as a multiple of the slice's RMS; the file's `noise_sigma`; an estimate.
        keep_samples: write every posterior sample too.
        batch: slices at a time; None is what suits the device.
        outputs: what is written beside the HDF5 file.
        coil_combine: of several coils, see `reconstruct_coils`; None is "rss".
    """

    task: str
    sampling: Sampling = OWN_SAMPLING
    up_to: int | None = None
    noisy: bool = False
    sigma: float | None = None
    relative: float | None = None
    keep_samples: bool = False
    batch: int | None = None
    outputs: Outputs = PLAIN
    coil_combine: CoilCombine | None = None


def run_file(
    loaded: LoadedModel,
    path: Path,
    output: Path,
    settings: InferenceSettings,
    request: Request,
    start: Start,
) -> dict[str, Any]:
    """Reconstruct or denoise one file.

    Args:
        loaded: the model and where it came from.
        path: the input.
        output: where the result goes (`scans.writer.output_path`).
        settings: how.
        request: what.
        start: told the file's name and number of slices, gives the progress to report to.

    Returns:
        The report, plain JSON values.

    Raises:
        ScanError: the file cannot be used.
        UsageError: the request does not fit the file.
        IahvaeError: the output cannot be written.
    """
    scan = open_scan(path)
    if scan.coils == 1 and request.coil_combine is not None:
        raise UsageError(f"--coil-combine {request.coil_combine}: {path} holds a single coil; leave it out")
    if scan.coils > 1 and request.keep_samples | bool(settings.samples):
        raise UsageError(
            f"--samples: {path} holds {scan.coils} coils; samples are drawn of single-coil scans only"
        )
    sampled = request.sampling.apply(scan)
    scan_used = replace(scan, mask=sampled.mask)
    geometry = scan_geometry(scan, sampled.mask, request.outputs.image_size)
    sampled = sampled.within(geometry, request.up_to)
    level = None
    if request.noisy:
        level = scan_noise(scan_used, geometry, sampled.mask, sigma=request.sigma, relative=request.relative)
    batches = make_batches(request.batch, loaded.model.gains.device)
    group = batches.size
    progress = start(path.name, scan.slices)
    levels = []
    shared: dict[str, Any] = {"domain": loaded.domain, "acquired": scan.acquired, "batch": batches}
    with volume_output(output, scan, geometry, sampled, request.outputs) as out:
        for first in range(0, scan.slices, group):
            chosen = slice(first, min(first + group, scan.slices))
            kspace = geometry.reduce(scan_used.read_coils(chosen))
            kspace = np.where(sampled.mask, kspace, 0)  # of the block that is used
            sigma = np.zeros(len(kspace)) if level is None else level.of(chosen, kspace)
            levels.append(sigma)
            given = shared | {"noise_sigma": sigma, "first": first, "progress": progress}
            if scan.coils == 1:
                result = reconstruct_volume(
                    loaded.model,
                    kspace[:, 0],
                    sampled.mask,
                    settings,
                    keep_samples=request.keep_samples,
                    **given,
                )
            else:
                combine = request.coil_combine or "rss"
                result = reconstruct_coils(
                    loaded.model, kspace, sampled.mask, settings, coil_combine=combine, **given
                )
            out.add(result, first)
        details: dict[str, Any] = {"task": request.task}
        if scan.coils > 1:
            details |= {"coils": scan.coils, "coil_combine": request.coil_combine or "rss"}
        doubts: tuple[str, ...] = ()
        if request.up_to:
            details["up_to"] = f"{request.up_to}x{request.up_to}"
        if level is not None:
            stated = float(np.median(np.concatenate(levels)))
            details |= {
                "noise_sigma": stated,
                "noise_source": level.source,
                "relative_sigma": request.relative,
            }
            doubts = level_doubts(scan_used, geometry, sampled.mask, stated, level.source)
        return out.finish(loaded, settings, batches, details, doubts)
