"""IA-VAE (Pollastro et al., arXiv 2604.06796): does a hypernetwork that adapts an encoder's weights pay?

    python -m benchmarks.neighbours.ia_vae synthetic --json benchmarks/neighbours/ia_vae/synthetic.json \\
        --figure docs/figures/ia_vae.png
    python -m benchmarks.neighbours.ia_vae omniglot OMNIGLOT.npz --json benchmarks/neighbours/ia_vae/omniglot.json
    python -m benchmarks.neighbours.ia_vae mri SLICES.npz --json benchmarks/neighbours/ia_vae/mri.json
"""

from pathlib import Path

import click

from benchmarks.neighbours.ia_vae import mri, omniglot, synthetic
from benchmarks.neighbours.report import report
from benchmarks.shared import options

seeds = click.option("--seeds", type=click.IntRange(2), default=3, show_default=True)


@click.group()
def main() -> None:
    """Three experiments; each prints a table."""


@main.command("synthetic")
@options.output
@click.option("--figure", type=click.Path(path_type=Path), help="PNG of two posteriors.")
@click.option("--seeds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--epochs", default=1000, show_default=True)
@click.option("--patience", default=100, show_default=True)
def run_synthetic(output: Path | None, figure: Path | None, seeds: int, epochs: int, patience: int) -> None:
    """The paper's synthetic model, whose posteriors are known."""
    report(lambda: synthetic.run(seeds, epochs, patience, figure), synthetic.table, output)


@main.command("omniglot")
@options.data
@options.output
@seeds
@click.option("--steps", default=1500, show_default=True, help="Of the VAE.")
@click.option("--more", default=500, show_default=True, help="Steps after it.")
def run_omniglot(data: Path, output: Path | None, seeds: int, steps: int, more: int) -> None:
    """Small images, DATA an npz file with `images` of 28 x 28: IA-VAE beside more training of the VAE."""
    report(lambda: omniglot.run(data, seeds, steps, more), omniglot.table, output)


@main.command("mri")
@options.data
@options.output
@seeds
@click.option("--steps", default=400, show_default=True, help="In all, half of them for the base.")
def run_mri(data: Path, output: Path | None, seeds: int, steps: int) -> None:
    """A small guide, DATA an npz file of magnitude slices: kernels beside channel-wise scale and shift."""
    report(lambda: mri.run(data, seeds, steps), mri.table, output)


if __name__ == "__main__":
    main()
