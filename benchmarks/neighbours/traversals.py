"""What one latent of each scale does to the image: a figure, and how the change spreads over bands.

    mri-iahvae example scan.h5
    python -m benchmarks.neighbours.traversals scan.h5 docs/figures/traversals.png \\
        --json benchmarks/neighbours/traversals.json

The encoder's posterior means of a slice are decoded, one latent of one scale moved by so many standard deviations of
its prior, all others kept in units of theirs. It is the latent of the scale that the encoder is surest of.
"""

from pathlib import Path
from typing import Any

import click
import h5py
import torch
from PIL import Image
from torch import Tensor

from benchmarks.neighbours.common import row
from benchmarks.shared import options
from mri_iahvae.files import atomic_path, write_json
from mri_iahvae.inference.joint import decode, encode
from mri_iahvae.kspace.bands import scales, split
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.statistics import canonical_batch

MOVES = -4.0, 0.0, 4.0
_GREYS = 64


@torch.no_grad()
def traverse(model: IAHVAE, kspace: Tensor, index: int) -> Tensor:
    """k-space of one slice with a latent of scale number `index` moved, complex64 (moves, N, N).

    Args:
        model: the model.
        kspace: complex64 (1, N, N), canonical.
        index: of the scale.
    """
    mean, std = encode(model, kspace)
    first = sum(len(scale.latents) for scale in model.scales[:index])
    layers = range(first, first + len(model.scales[index].latents))
    layer = min(layers, key=lambda number: float(std[number].min()))
    moved = [e.expand(len(MOVES), *e.shape[1:]).clone() for e in mean]
    moved[layer].flatten(1)[:, std[layer].argmin()] += torch.tensor(MOVES)
    return decode(model, moved)


def spread(kspace: Tensor) -> list[float]:
    """Fraction of the energy of the change between the extreme moves, in each band; from (moves, N, N)."""
    energy = [float(band.abs().square().sum()) for band in split(kspace[-1:] - kspace[:1])]
    return [one / sum(energy) for one in energy]


def draw(path: Path, images: dict[int, Tensor]) -> None:
    """Write a PNG: a row for each scale, float (moves, N, N) by its side; the last column is the change."""
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib.figure import Figure  # noqa: PLC0415

    titles = [*(f"{move:+.0f}" for move in MOVES), "change"]
    size = 1.3 * len(titles), 1.3 * len(images) + 0.3
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(len(images), len(titles), squeeze=False)
    for line, (side, row_of) in zip(axes, images.items(), strict=True):
        white, change = float(row_of[len(MOVES) // 2].max()), row_of[-1] - row_of[0]
        limit = float(change.abs().max())
        for axis, image in zip(line, row_of, strict=False):
            axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=white, interpolation="nearest")
        line[-1].imshow(change.numpy(), cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
        line[0].set_ylabel(f"scale {side}", fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
        with Image.open(part) as picture:
            few = picture.convert("L").quantize(_GREYS)
        few.save(part, format="png", optimize=True)


@click.command()
@click.argument("scan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("figure", type=click.Path(path_type=Path))
@click.option("--slice", "number", default=12, show_default=True)
@options.checkpoint
@options.output
def main(scan: Path, figure: Path, number: int, checkpoint: str, output: Path | None) -> None:
    """Draw traversals of a slice of SCAN, fully sampled and of one coil, to FIGURE."""
    model, digest = load_model(checkpoint)
    with h5py.File(scan) as file:
        kspace = canonical_batch(torch.from_numpy(file["kspace"][number : number + 1]), model.size)
    sides = scales(model.size)
    moved = {side: traverse(model, kspace, index) for index, side in enumerate(sides)}
    draw(figure, {side: ifft2c(bins).abs() for side, bins in moved.items()})
    stored: dict[str, Any] = {str(side): spread(bins) for side, bins in moved.items()}
    click.echo(row("scale moved", map(str, sides)))
    click.echo(row("---", ["---"] * len(sides)))
    for side, fractions in stored.items():
        click.echo(row(side, (f"{one:.1%}" for one in fractions)))
    if output is not None:
        write_json(output, {"model_sha256": digest, "slice": number, "moves": MOVES, "spread": stored})


if __name__ == "__main__":
    main()
