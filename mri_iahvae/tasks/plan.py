"""Which columns to measure next: arrays, or a file with a mask and a figure as results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.files import atomic_path, make_folder
from mri_iahvae.inference.guidance import estimate as guided
from mri_iahvae.inference.planning import ColumnErrors, choose
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.pipeline.arrays import as_numpy, checked_arrays, power_of_two
from mri_iahvae.pipeline.batches import make_batches
from mri_iahvae.pipeline.devices import find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.results.paths import beside, require_other, result_name
from mri_iahvae.results.plan_figure import plan_figure
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.undersampling import OWN_SAMPLING, Sampling
from mri_iahvae.words import counted


@dataclass(frozen=True, eq=False)
class Plan:
    """Columns to measure.

    Attributes:
        columns: their numbers, from 0 on, the first one first.
        expected: expected squared error of all slices over the energy of their estimates: before any of them is
            measured, and after each; `len(columns)` + 1 numbers.
        mask: bool (W,), what was measured, and these.
    """

    columns: tuple[int, ...]
    expected: tuple[float, ...]
    mask: NDArray[np.bool_]


def plan(
    kspace: NDArray[np.complexfloating] | Tensor,
    mask: NDArray[np.bool_] | Tensor,
    lines: int,
    *,
    every: int | None = None,
    checkpoint: str | Path = "small",
    device: str = "auto",
) -> Plan:
    """Plan which columns of k-space to measure next (Python API).

    Args:
        kspace: complex (H, W) or (slices, H, W) as in `mri_iahvae.reconstruct`. Slices get the same columns: those
            after which the sum of their squared errors is expected to be least.
        mask: bool (W,), the columns that are measured.
        lines: how many to plan.
        every: simulate a scan: measure so many planned columns, in `kspace`, which holds them all, and estimate
            again before the next are planned. None: plan all from what `mask` has.
        checkpoint: name of a shipped model, or folder of a checkpoint, with a guide.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The columns in order, the expected error, and the mask.

    Raises:
        UsageError: an argument that cannot be, more lines than are left, no guide, or no estimate to plan from.
        CheckpointError: the checkpoint cannot be read.
    """
    values, columns = as_numpy(kspace), as_numpy(mask).astype(bool)
    values = values[None] if values.ndim == 2 else values
    if columns.shape != values.shape[-1:]:
        raise UsageError(f"mask: expected columns ({values.shape[-1]},), got {columns.shape}")
    loaded = LoadedModel.load(checkpoint, find_device(device))
    return plan_columns(loaded, values, columns, ~columns, lines, every=every)


def plan_columns(
    loaded: LoadedModel,
    kspace: NDArray[np.complexfloating],
    mask: NDArray[np.bool_],
    candidates: NDArray[np.bool_],
    lines: int,
    *,
    every: int | None = None,
) -> Plan:
    """`plan` with a model that is loaded, of k-space (slices, H, W); `candidates` (W,) are columns to choose from."""
    guide, left = loaded.guide, int(candidates.sum())
    every = lines if every is None else every
    if guide is None:
        raise UsageError(f"{loaded.name}: planning needs a guide; take a checkpoint that has one")
    if min(lines, every) < 1:
        raise UsageError(f"{lines} lines, {every} at a time: expected at least one")
    if not left:
        raise UsageError("no column is left to plan: leave some out, by --acceleration or --mask")
    if lines > left:
        columns = counted(left, "column")
        raise UsageError(
            f"--lines {lines}: {columns} left to plan; ask for fewer, or begin with fewer measured"
        )
    values, *_ = checked_arrays(kspace, mask if every >= lines else mask | candidates, 0.0)
    values = values / power_of_two(values.flatten()[None])
    free, known = torch.from_numpy(candidates), torch.from_numpy(mask)
    order: list[int] = []
    expected: list[float] = []
    while len(order) < lines:
        found = _estimated(guide, values, known)
        energy = float(found.kspace.abs().double().square().sum())
        errors = ColumnErrors(found, known)
        # What a new estimate expects takes the place of what was foreseen.
        expected[-1:] = [errors.expected() / energy]
        chosen, after = choose(errors, free, min(every, lines - len(order)))
        order += chosen
        expected += [error / energy for error in after]
        known = errors.mask
    planned = mask.copy()
    planned[order] = True
    return Plan(tuple(order), tuple(expected), planned)


def plan_file(
    loaded: LoadedModel,
    path: Path,
    folder: Path,
    lines: int,
    *,
    every: int | None = None,
    sampling: Sampling = OWN_SAMPLING,
    reading: Reading = AS_STORED,
) -> dict[str, Any]:
    """Plan the next columns of a file, the same for all its slices.

    Returns:
        Plain JSON values: `input`, numbers of `columns` in order, `expected_error` as `Plan` has it, and the files
        `mask` (npy, bool (W,), for `--mask`) and `picture`, in the folder, which is made; and `warnings`.

    Raises:
        ScanError: the file cannot be used, holds several coils, or has anything but whole columns measured that are
            the same in all slices.
        UsageError: as `plan`, or `sampling` leaves anything but such columns.
        IahvaeError: the results cannot be written.
    """
    scan = open_scan(path, reading)
    sampled = sampling.apply(scan)
    measured = sampled.mask
    columns = np.asarray(measured.any(axis=tuple(range(measured.ndim - 1))))
    if (measured != columns).any():
        advice = "only such scans are planned; leave out or change the mask"
        wanted, whole = "whole columns measured, the same in all slices", measured.any(axis=-2, keepdims=True)
        sampling_found = (
            "single bins or rows" if (measured != whole).any() else "other columns in other slices"
        )
        error = unusable(path, wanted, sampling_found, advice)
        raise error if sampling == OWN_SAMPLING else UsageError(str(error))
    padding = np.ones_like(columns)  # never acquired: known to be zero
    padding[slice(*scan.acquired)] = False
    held = np.asarray(scan.mask.all(axis=tuple(range(scan.mask.ndim - 1))))
    candidates = (~padding if every is None else held) & ~columns
    kspace = scan_geometry(scan, measured).reduce(scan.read(slice(None)))
    result = folder / result_name(path)
    if folder.is_dir():
        require_other(beside(result, "plan"), (path, sampling.mask_path))
    try:
        found = plan_columns(loaded, kspace, columns | padding, candidates, lines, every=every)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    make_folder(folder)
    mask, picture = beside(result, "plan"), beside(result, "plan_picture")
    plan_figure(picture, columns, found.columns, found.expected)
    with atomic_path(mask) as part, part.open("wb") as file:
        np.save(file, found.mask & ~padding)
    return {
        "input": str(path),
        "columns": list(found.columns),
        "expected_error": list(found.expected),
        "mask": str(mask),
        "picture": str(picture),
        "warnings": [*loaded.warnings, *scan.warnings, *sampled.warnings],
    }


def _estimated(guide: Guide, kspace: Tensor, columns: Tensor) -> Estimate:
    """Of the slices that the guide can say something of, on the CPU.

    Raises:
        UsageError: there are none.
    """
    device, parts = next(guide.parameters()).device, []
    mask = columns.expand(kspace.shape)

    def work(rng: slice) -> None:
        noiseless = torch.zeros(len(kspace[rng]), device=device)
        found, _ = guided(guide, kspace[rng].to(device), mask[rng].to(device), noiseless)
        parts.append([part.cpu() for part in found])

    make_batches(None, device).run(work, len(kspace))
    found = Estimate(*(torch.cat(part) for part in zip(*parts, strict=True)))
    usable = found.variance.isfinite().flatten(1).all(1)
    if not usable.any():
        raise UsageError(
            "the guide estimates none of the slices, so nothing can be planned: measure columns around the centre first"
        )
    return Estimate(*(part[usable] for part in found))
