"""What planned columns gain over fixed ones: the error at 8, 16 and 32 columns, beginning with the 4 central ones.

    python -m benchmarks.beyond.plan mr_slices_val.npz mr_slices_train.npz --json benchmarks/beyond/plan.json

The archives hold `images` (n, H, W) of 8 bits; slices are taken evenly, and get simulated phase and 1 % noise. Rivals:
fastMRI's random and equispaced columns and a variable density, each drawn anew for each slice, with exactly so many
columns; and a fixed order, learnt on training slices: at each step the column in which the guide's estimates lack
most energy, as a mean over the slices. Ours: an order from one estimate, and orders that are planned anew after 4
columns or 1, measured and estimated. The oracle knows the truth: at each step the column in which the guide's estimate
of this slice lacks most energy. Error: NMSE of the magnitude against the noise-free slice, by the guide.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.guidance import estimate as guided
from mri_iahvae.inference.planning import ColumnErrors, choose
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import LineType, column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import load_guide

CENTRE = 4
LINES = (8, 16, 32)
POWERS = (2, 4, 8)
"""Of 1 - |k| / (W / 2), a variable density; the one that is best on training slices at 16 columns is taken."""


class Slices(NamedTuple):
    """Magnitude without noise, float (n, H, W), and k-space with noise, complex64 (n, H, W)."""

    reference: Tensor
    kspace: Tensor


NmseRow = dict[str, list[float]]
"""Of each slice, by the number of columns."""

Chooser = Callable[[Slices, Estimate, Tensor, int], Tensor]
"""From slices, the guide's estimate of them and masks (n, W), so many columns of each slice to measure, (n, count)."""


def slices_of(path: Path, count: int, seed: int) -> Slices:
    """So many slices of an archive, taken evenly, with simulated phase and noise."""
    with np.load(path) as archive:
        images = archive["images"]
    chosen = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    reference = torch.from_numpy(chosen.astype(np.float32) / 255)
    generator = torch.Generator().manual_seed(seed)
    phase = smooth_phase(count, (reference.shape[1], reference.shape[2]), generator)
    clean = fft2c(torch.polar(reference, phase))
    noise = complex_noise(tuple(clean.shape), 0.01 * rms(clean)[:, None, None], generator)
    return Slices(reference, clean + noise)


def centre(slices: Slices) -> Tensor:
    """The masks to begin with, bool (n, W)."""
    count, _, width = slices.kspace.shape
    mask = torch.zeros(count, width, dtype=torch.bool)
    mask[:, width // 2 - CENTRE // 2 : width // 2 + CENTRE // 2] = True
    return mask


def estimates(guide: Guide, slices: Slices, mask: Tensor) -> Estimate:
    """As `--quality fast` makes them: measured columns (n, W) are kept."""
    bins = mask[:, None].expand(slices.kspace.shape)
    return guided(guide, slices.kspace, bins, torch.zeros(len(mask)))[0]


def errors(slices: Slices, found: Estimate) -> Tensor:
    """NMSE of the magnitude, (n,)."""
    difference = ifft2c(found.kspace).abs() - slices.reference
    return difference.square().sum((1, 2)) / slices.reference.square().sum((1, 2))


def follow(guide: Guide, slices: Slices, chooser: Chooser, every: int, lines: int) -> Tensor:
    """The columns that are measured one after the other, (n, lines), estimated anew after `every` of them."""
    mask, orders = centre(slices), list[Tensor]()
    while sum(part.shape[1] for part in orders) < lines:
        orders.append(chooser(slices, estimates(guide, slices, mask), mask, every))
        mask = mask.scatter(1, orders[-1], value=True)
    return torch.cat(orders, dim=1)[:, :lines]


def planned(_: Slices, found: Estimate, mask: Tensor, count: int) -> Tensor:
    """Ours: for each slice alone."""
    orders = []
    for number, one in enumerate(mask):
        alone = Estimate(*(part[number : number + 1] for part in found))
        orders.append(choose(ColumnErrors(alone, one), ~one, count)[0])
    return torch.tensor(orders)


def lacking(slices: Slices, found: Estimate) -> Tensor:
    """Energy of the error of each column over that of the slice, (n, W)."""
    energy = slices.kspace.abs().square().sum((1, 2))
    return (found.kspace - slices.kspace).abs().square().sum(1) / energy[:, None]


def oracle(slices: Slices, found: Estimate, mask: Tensor, count: int) -> Tensor:
    """By the truth of each slice."""
    return lacking(slices, found).masked_fill(mask, -1).topk(count).indices


def learnt(slices: Slices, found: Estimate, mask: Tensor, count: int) -> Tensor:
    """By the truth of all slices together: one order for all."""
    together = lacking(slices, found).mean(0).masked_fill(mask[0], -1)
    return together.topk(count).indices.expand(len(mask), -1)


def drawn(kind: LineType, width: int, lines: int, first: int) -> NDArray[np.bool_]:
    """fastMRI's mask by the first seed from `first` on that gives exactly so many columns."""
    seeds = range(first, first + 1000)
    masks = (column_mask(width, width // lines, CENTRE / width, kind, seed) for seed in seeds)
    return next(mask for mask in masks if mask.sum() == lines)


def variable_density(width: int, power: int, lines: int, seed: int) -> NDArray[np.bool_]:
    """The centre, and columns drawn with probability proportional to that power of 1 - |k| / (W / 2)."""
    distance = np.abs(np.arange(width) - width // 2)
    mask = (np.arange(width) >= width // 2 - CENTRE // 2) & (np.arange(width) < width // 2 + CENTRE // 2)
    weights = np.where(mask, 0, (1 - distance / (width / 2)) ** power)
    count = lines - CENTRE
    mask[np.random.default_rng(seed).choice(width, count, replace=False, p=weights / weights.sum())] = True
    return mask


def at_lines(guide: Guide, slices: Slices, order: Tensor) -> dict[int, Tensor]:
    """Errors after so many columns of an order (n, lines), by `LINES`."""
    masks = {lines: centre(slices).scatter(1, order[:, : lines - CENTRE], value=True) for lines in LINES}
    return {lines: errors(slices, estimates(guide, slices, mask)) for lines, mask in masks.items()}


def of_masks(
    guide: Guide, slices: Slices, draw: Callable[[int, int], NDArray[np.bool_]], lines: int
) -> Tensor:
    """Errors by a mask for each slice, of a number of columns and a seed."""
    masks = [torch.from_numpy(draw(lines, 1000 * number)) for number in range(len(slices.kspace))]
    return errors(slices, estimates(guide, slices, torch.stack(masks)))


@click.command()
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@options.checkpoint
@options.output
@options.only
@click.option("--slices", "count", default=8, show_default=True, help="Validation slices.")
@click.option("--learn-from", default=16, show_default=True, help="Training slices.")
def main(
    validation: Path,
    training: Path,
    checkpoint: str,
    output: Path | None,
    only: tuple[str, ...],
    count: int,
    learn_from: int,
) -> None:
    """Measure on slices of VALIDATION; the fixed order is learnt on slices of TRAINING.

    With --task only those rows are measured, and put beside the rows that the file of --json has.
    """
    loaded = load_guide(checkpoint, torch.device("cpu"))
    if loaded is None:
        raise click.ClickException(f"--checkpoint {checkpoint}: it has no guide")
    guide, sha256 = loaded
    slices, others = slices_of(validation, count, 0), slices_of(training, learn_from, 1)
    width, more = slices.kspace.shape[-1], LINES[-1] - CENTRE
    stored: dict[str, Any] = {"guide_sha256": sha256, "nmse": {}}
    if output and output.exists():
        stored = json.loads(output.read_text())

    def line_masks(kind: LineType) -> dict[int, Tensor]:
        return {lines: of_masks(guide, slices, partial(drawn, kind, width), lines) for lines in LINES}

    def density() -> dict[int, Tensor]:
        masks = {power: partial(variable_density, width, power) for power in POWERS}
        best = min(POWERS, key=lambda power: float(of_masks(guide, others, masks[power], 16).mean()))
        stored["variable_density_power"] = best
        return {lines: of_masks(guide, slices, masks[best], lines) for lines in LINES}

    def fixed() -> dict[int, Tensor]:
        order = follow(guide, others, learnt, 1, more)[0]
        stored["fixed_order"] = (order - width // 2).tolist()
        return at_lines(guide, slices, order.expand(count, -1))

    def followed(chooser: Chooser, every: int) -> dict[int, Tensor]:
        return at_lines(guide, slices, follow(guide, slices, chooser, every, more))

    rows: dict[str, Callable[[], dict[int, Tensor]]] = {
        "random columns": partial(line_masks, "random"),
        "equispaced columns": partial(line_masks, "equispaced"),
        "variable density": density,
        "fixed order": fixed,
        "planned, one estimate": partial(followed, planned, more),
        "planned anew after 4": partial(followed, planned, 4),
        "planned anew after 1": partial(followed, planned, 1),
        "oracle": partial(followed, oracle, 1),
    }
    for name, measure in rows.items():
        if not only or any(text in name for text in only):
            found = {
                str(lines): [round(value, 5) for value in one.tolist()] for lines, one in measure().items()
            }
            stored["nmse"][name] = found
            if output:
                write_json(output, stored)
    for name, row in stored["nmse"].items():
        click.echo(f"{name:24} {beside_fixed(row, stored['nmse'].get('fixed order', row))}")


def beside_fixed(row: NmseRow, fixed: NmseRow) -> str:
    """Means, in brackets their change from those of the fixed order, and on how many slices the error is lower."""
    words = []
    for lines, values in row.items():
        change = np.mean(values) / np.mean(fixed[lines]) - 1
        lower = sum(value < other for value, other in zip(values, fixed[lines], strict=True))
        words.append(f"{np.mean(values):.4f} ({change:+.0%}, lower on {lower})")
    return "   ".join(words)


if __name__ == "__main__":
    main()
