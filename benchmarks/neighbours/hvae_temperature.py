"""What the temperature of draws trades: error of a completion against energy of the bands that are drawn.

    python -m benchmarks.neighbours.hvae_temperature mr_slices_val.npz \\
        --json benchmarks/neighbours/hvae_temperature.json

The file holds `images`, uint8 (slices, n, n), magnitudes, which get a simulated smooth phase.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.neighbours.common import relative_error, row, unseen
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.prior import beyond_block
from mri_iahvae.kspace.bands import scales, split
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE

TEMPERATURES = 0.0, 0.5, 0.7, 0.85, 1.0
CUT = 8  # side of the block that is known


def drawn_beyond(model: IAHVAE, kspace: Tensor, side: int, draws: Draws) -> Tensor:
    """k-space whose scales beyond B_side are drawn from the prior, complex64 (B, N, N); 0 draws all of them."""
    walk = beyond_block(model, kspace, side)
    for scale, h in walk:
        last = scale.run(h, draws.latents(scale))
        walk.extend(last, scale.bins(last))
    return walk.coarse


@torch.no_grad()
def by_temperature(model: IAHVAE, truth: Tensor) -> dict[str, Any]:
    """NMSE of one draw beyond block B_8, and energies of bands drawn over those of the slices, for each temperature."""
    elements = tuple(Element(number, 0) for number in range(len(truth)))
    found: dict[str, Any] = {}
    for temperature in TEMPERATURES:
        draws = Draws(0, temperature, elements, truth.device)
        completed, prior = (drawn_beyond(model, truth, side, draws) for side in (CUT, 0))
        found[str(temperature)] = {
            "nmse": float(relative_error(completed, truth).mean()),
            "completion_energy": energies(completed, truth),
            "prior_energy": energies(prior, truth),
        }
    return found


def energies(kspace: Tensor, truth: Tensor) -> list[float]:
    """Mean energy of each band over that of other slices; complex (slices, N, N) twice."""
    pairs = zip(split(kspace), split(truth), strict=True)
    return [float(a.abs().square().sum() / b.abs().square().sum()) for a, b in pairs]


def temperature_lines(found: dict[str, Any], grid: int) -> Iterator[str]:
    """Two tables in Markdown, of draws beyond the block and of prior samples."""
    sides = [str(side) for side in scales(grid)]
    yield row("temperature, energies of completion", [f"NMSE from B_{CUT}", *sides])
    yield row("---", ["---"] * (1 + len(sides)))
    for temperature, one in found.items():
        yield row(
            temperature, [f"{one['nmse']:.4f}", *(f"{value:.2f}" for value in one["completion_energy"])]
        )
    yield ""
    yield row("temperature, energies of prior samples", sides)
    yield row("---", ["---"] * len(sides))
    for temperature, one in found.items():
        yield row(temperature, (f"{value:.2f}" for value in one["prior_energy"]))


@click.command()
@click.argument("held_out", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slices", default=16, show_default=True)
@options.checkpoint
@options.output
def main(held_out: Path, slices: int, checkpoint: str, output: Path | None) -> None:
    """Draw beyond the central bins of slices of HELD_OUT, an .npz file."""
    model, digest = load_model(checkpoint)
    found = by_temperature(model, unseen(held_out, model.size, slices))
    click.echo("\n".join(temperature_lines(found, model.size)))
    if output is not None:
        write_json(output, {"model_sha256": digest, "slices": slices, "temperature": found})


if __name__ == "__main__":
    main()
