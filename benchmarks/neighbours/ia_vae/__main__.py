"""IA-VAE (Pollastro et al., arXiv 2604.06796): does a hypernetwork that adapts an encoder's weights pay?

    python -m benchmarks.neighbours.ia_vae synthetic --json benchmarks/neighbours/ia_vae/synthetic.json \\
        --figure docs/figures/ia_vae.png
"""

from pathlib import Path

import click

from benchmarks.neighbours.ia_vae import omniglot, synthetic
from benchmarks.shared import options
from mri_iahvae.files import write_json


seeds = click.option("--seeds", type=click.IntRange(2), default=3, show_default=True)


@click.group()
def main() -> None:
    """Three experiments, each printing a table."""


@main.command("synthetic")
@options.output
@click.option("--figure", type=click.Path(path_type=Path), help="PNG of two posteriors.")
@click.option("--seeds", default=10, show_default=True)
@click.option("--epochs", default=1000, show_default=True)
@click.option("--patience", default=100, show_default=True)
def run_synthetic(output: Path | None, figure: Path | None, seeds: int, epochs: int, patience: int) -> None:
    """The paper's synthetic model, whose posteriors are known."""
    results = synthetic.run(seeds, epochs, patience, figure)
    if output is not None:
        write_json(output, results)
    click.echo(synthetic.table(results))


@main.command("omniglot")
@options.data
@options.output
@seeds
@click.option("--steps", default=4000, show_default=True, help="Of the VAE.")
@click.option("--more", default=2000, show_default=True, help="Steps after it.")
def run_omniglot(data: Path, output: Path | None, seeds: int, steps: int, more: int) -> None:
    """Small images, DATA an npz file with `images` of 28 x 28: IA-VAE beside more training of the VAE."""
    results = omniglot.run(data, seeds, steps, more)
    if output is not None:
        write_json(output, results)
    click.echo(omniglot.table(results))


if __name__ == "__main__":
    main()
