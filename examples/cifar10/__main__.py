"""Colour images by half spectra: the other half of the paper (arXiv 2601.15894), Table 1 on the left and Figure 3.

    python -m examples.cifar10 train cifar10_train.npz --minutes 60 -o RUN
    python -m examples.cifar10 table RUN cifar10_test.npz --json table.json --picture scales.png
    python -m examples.cifar10 rings RUN cifar10_test.npz --json rings.json

From the repository's root. A hierarchical VAE of real images on the package's seams: layers, training objective and
Algorithm 1 are the package's, unchanged. An ordinary one of the same layers is trained beside it. Images are npz files
with `jpeg`, all files one after the other, and `offset`, where each begins and the last ends.
"""

import time
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.neighbours.dvp_vae.images import decode
from benchmarks.neighbours.report import report
from benchmarks.shared import options
from examples.cifar10 import rings
from examples.cifar10.table import as_text, picture, table
from examples.cifar10.training import batch, begin, resume, save, spread
from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import folder_of_one_run, make_folder

SAID, SAVED = 50, 200  # steps between lines, and between saved states


@click.group()
def main() -> None:
    """Train on images by half spectra, and measure."""


@main.command("train")
@options.data
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=120, show_default=True)
@click.option("-o", "--output", "run", type=click.Path(path_type=Path), required=True, help="Run folder.")
def run_train(data: Path, minutes: float, run: Path) -> None:
    """Train on the images of DATA, for so long; a run that is there goes on.

    The learning rate falls to zero at the end, and starts anew in a run that goes on.
    """
    try:
        make_folder(run)
        with folder_of_one_run(run):
            train(data, minutes, run)
    except IahvaeError as error:
        raise click.ClickException(str(error)) from error


def train(data: Path, minutes: float, run: Path) -> None:
    """Steps of all models in turn, on the same batch."""
    images = decode(data)
    trainees, step = resume(run) if (run / "state.pt").exists() else (begin(images), 0)
    losses: dict[str, list[float]] = {name: [] for name in trainees}
    end = time.monotonic() + 60 * minutes
    while (left := end - time.monotonic()) > 0:
        chosen = batch(images, step)
        for name, one in trainees.items():
            losses[name].append(one.step(chosen, step, 1 - left / (60 * minutes)))
        step += 1
        if step % SAID == 0:
            means = "  ".join(f"{name} {sum(last) / len(last):.3f}" for name, last in losses.items())
            click.echo(f"step {step:6}  -ELBO, bits per colour value: {means}  {left / 60:.1f} minutes left")
            for last in losses.values():
                last.clear()
        if step % SAVED == 0:
            save(run, trainees, step)
    save(run, trainees, step)


@main.command("table")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.data
@options.output
@click.option("--picture", "drawn", type=click.Path(path_type=Path), help="Output at every scale goes here.")
@click.option("--images", "count", type=click.IntRange(2), default=96, show_default=True)
def run_table(run: Path, data: Path, output: Path | None, drawn: Path | None, count: int) -> None:
    """Score the models of RUN on some images of DATA, evenly spaced."""
    torch.set_num_threads(1)

    def measured() -> dict[str, Any]:
        images = spread(decode(data), count)
        trainees, step = resume(run)
        if drawn is not None:
            picture(trainees["separable"].averaged(), spread(images, 4), drawn)
        return table(trainees, step, images)

    report(measured, as_text, output)


@main.command("rings")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.data
@options.output
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True)
@click.option("--images", "count", type=click.IntRange(2), default=32, show_default=True)
def run_rings(run: Path, data: Path, output: Path | None, steps: int, count: int) -> None:
    """Error of each ring when one scale is refined, or all: separable model of RUN, some images of DATA."""
    torch.set_num_threads(1)

    def measured() -> dict[str, Any]:
        trainees, _ = resume(run)
        return rings.table(trainees["separable"].averaged(), spread(decode(data), count), steps)

    report(measured, rings.as_text, output)


if __name__ == "__main__":
    main()
