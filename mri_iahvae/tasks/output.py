"""What a reconstruction leaves behind: the HDF5 file, the figure, and the report."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mri_iahvae
from mri_iahvae.evaluation.metrics import MIN_SIDE, Scores, score
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.scans.plots import kspace_figure, plain_text
from mri_iahvae.scans.reader import Scan
from mri_iahvae.scans.writer import write_reconstruction
from mri_iahvae.tasks.loaded import LoadedModel
from mri_iahvae.tasks.sampling import SampledMask
from mri_iahvae.tasks.volume import Reconstruction


def write_outputs(
    scan: Scan,
    sampled: SampledMask,
    result: Reconstruction,
    output: Path,
    loaded: LoadedModel,
    details: dict[str, Any],
    doubts: Sequence[str] = (),
) -> dict[str, Any]:
    """Score, write and draw a result.

    Args:
        scan: the input.
        sampled: the bins of it that were used; stored as the dataset `mask`.
        result: the reconstruction.
        output: HDF5 file to write; the figure is `<stem>_kspace.png` beside it.
        loaded: the model.
        details: of the task, for the record.
        doubts: further warnings of the task.

    Returns:
        The report, plain JSON values: everything that reproduces the run, shares, scores and warnings.

    Raises:
        IahvaeError: an output cannot be written.
    """
    reference, warnings = _reference(scan)
    if result.shares["measured"] == 0:  # a sample of the prior, not of this scan
        reference = None
    if details.get("noise_source") == "estimate" and details["noise_sigma"] == 0:
        warnings.append("too little is measured to estimate the noise: taken as none")
    if result.shares["measured"] == 1 and result.settings.data_consistency == "hard":
        warnings.append("every bin is measured, so the result is the data: see --up-to, denoise")
    if details.get("task") == "denoise" and scan.height > loaded.model.size:
        warnings.append(f"bins beyond the central {loaded.model.size}x{loaded.model.size} keep their noise")
    size = _display_size(scan, reference)
    image = _centre(result.image, size)
    baseline = _centre(ifft2c(torch.from_numpy(result.zero_filled)).abs().numpy(), size)
    scores: dict[str, Scores] = {}
    if reference is not None and reference.any():
        scores = {
            "zero-filled": score(reference, baseline),
            "reconstruction": score(reference, np.abs(image)),
        }

    record: dict[str, Any] = {
        **{key: value for key, value in details.items() if value is not None},
        **sampled.to_json(),
        **result.settings.to_json(),
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "grid": loaded.model.size,
        "device": str(loaded.model.gains.device),
        "version": mri_iahvae.__version__,
        "torch": str(torch.__version__),
        **{f"share_{name}": share for name, share in result.shares.items()},
    }
    flat = {f"{name} {key}": value for name, s in scores.items() for key, value in s.to_dict().items()}
    attributes = {key: value for key, value in {**record, **flat}.items() if value is not None}
    attributes["steps_used"] = result.steps
    attributes["fit"] = result.fit
    attributes["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    picture = output.with_name(output.stem + "_kspace.png")
    # Held by the scan, left out by this run: shown beside the reference, which has the figure's third column.
    whole = scan.mask_source == "full" or bool(scan.mask.all())
    hidden = reference is not None and whole and bool((scan.mask & ~sampled.mask).any())
    kspace_figure(
        picture,
        zero_filled=baseline,
        reconstruction=np.abs(image),
        measured=result.zero_filled,
        completed=result.kspace,
        reference=reference,
        deviation=None if result.std is None else _centre(result.std, size),
        reference_kspace=scan.read(slice(None)) if hidden else None,
        scores=scores,
        title=plain_text(scan.path.name),
    )
    # Last: where this file is, everything is.
    extra: dict[str, NDArray[Any]] = {"canonical_factor": result.factors, "mask": sampled.mask}
    if result.std is not None:
        extra["reconstruction_std"] = _centre(result.std, size)
    if result.samples is not None:
        extra["samples"] = _centre(result.samples, size)
    write_reconstruction(output, np.abs(image), image, attributes=attributes, extra=extra)
    return {
        "input": str(scan.path),
        "output": str(output),
        "picture": str(picture),
        "slices": scan.slices,
        **record,
        "steps_used": result.steps.tolist(),
        "fit": [None if math.isnan(value) else value for value in result.fit.tolist()],  # JSON knows no NaN
        "scores": {name: s.to_dict() for name, s in scores.items()},
        "warnings": [*scan.warnings, *sampled.warnings, *result.warnings, *doubts, *warnings],
    }


def _reference(scan: Scan) -> tuple[NDArray[np.float32] | None, list[str]]:
    """The reference, where it can be compared with the result; what is wrong with it, where it cannot."""
    if scan.reference is None:
        return None, []
    reference = scan.read_reference(slice(None))
    (rows, columns), size = reference.shape[-2:], (scan.height, scan.width)
    if min(rows, columns) < MIN_SIDE or rows > size[0] or columns > size[1]:
        expected = f"from {MIN_SIDE}x{MIN_SIDE} to the {size[0]}x{size[1]} of k-space"
        return None, [f"the reference is {rows}x{columns}, expected {expected}: not used"]
    return reference, []


def _display_size(scan: Scan, reference: NDArray[np.float32] | None) -> tuple[int, int]:
    """Size of the output image: that of the reference, else the header's reconSpace, never above the k-space's."""
    size = scan.height, scan.width
    if reference is not None:
        wanted = reference.shape[-2:]
    elif scan.header is not None:
        wanted = scan.header.recon
    else:
        wanted = size
    return min(size[0], wanted[0]), min(size[1], wanted[1])


def _centre(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Centre crop, as fastMRI does it: from (n - m) // 2."""
    top, left = (image.shape[-2] - size[0]) // 2, (image.shape[-1] - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]
