"""DVP-VAE (Kuzina and Tomczak, arXiv 2412.01373): do pseudo-input, diffusion prior and latent aggregation pay?

python -m benchmarks.neighbours.dvp_vae omniglot OMNIGLOT.npz --json benchmarks/neighbours/dvp_vae/omniglot.json
python -m benchmarks.neighbours.dvp_vae cifar10 TRAIN.npz TEST.npz
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.neighbours.dvp_vae import comparison, images
from benchmarks.neighbours.report import report
from benchmarks.shared import options

only = click.option(
    "--only", "names", multiple=True, type=click.Choice([*comparison.KINDS]), default=[*comparison.KINDS]
)

sigma = click.option(
    "--sigma", type=click.FloatRange(0, min_open=True), default=0.2, show_default=True, help="Of r(u | x)."
)


@click.group()
def main() -> None:
    """Small hierarchical VAEs, with and without each part; each command prints a table."""


@main.command("omniglot")
@options.data
@options.output
@only
@sigma
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--steps", type=click.IntRange(2), default=600, show_default=True)
def run_omniglot(
    data: Path, output: Path | None, names: tuple[str, ...], sigma: float, seeds: int, steps: int
) -> None:
    """Black and white images, DATA an npz file with `images` of 28 x 28; the table is in nats."""
    report(
        lambda: comparison.run(images.read_omniglot(data), seeds, steps, sigma, names),
        comparison.table,
        output,
    )


@main.command("cifar10")
@options.data
@click.argument("test", type=click.Path(exists=True, path_type=Path))
@options.output
@only
@sigma
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--steps", type=click.IntRange(2), default=20000, show_default=True)
@click.option(
    "--held-out", type=click.IntRange(1), default=1000, show_default=True, help="Images that score."
)
def run_cifar10(
    data: Path,
    test: Path,
    output: Path | None,
    names: tuple[str, ...],
    sigma: float,
    seeds: int,
    steps: int,
    held_out: int,
) -> None:
    """Colour images, DATA and TEST npz files with `jpeg` and `offset`; the table is in bits per dimension."""
    bit = 3 * 32 * 32 * math.log(2)

    def run() -> dict[str, Any]:
        return comparison.run(images.read_cifar10(data, test, held_out), seeds, steps, sigma, names)

    report(run, partial(comparison.table, unit=bit), output)


if __name__ == "__main__":
    main()
