"""Quality of reconstruction on fully sampled scans: ours beside zero-filling, compressed sensing, BM3D and a U-Net.

    python -m benchmarks.quality.compare data/reporting --json benchmarks/quality/quality.json

What needs the extra `bench` is left out where that is not installed. Every slice is scored as a volume of its own
(NMSE, PSNR, SSIM as fastMRI defines them, data range = the slice's maximum) against the noise-free reference; a row is
the mean over slices. Time is processor time of one slice in a batch of its file, all threads together: other work on
the machine does not count.

The file is written after every row, and a second run goes on where the first stopped: only rows whose measurements,
weights or settings have changed are made again.

`classical.py` tunes the regularisation weights, `unet.py` trains the U-Net, `tables.py` writes the tables of the
documents.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.quality.methods import OURS, Method, Tools, methods
from benchmarks.quality.rows import Results, facts, fingerprint
from benchmarks.shared import options
from benchmarks.shared.report import scores_line
from benchmarks.shared.tasks import TASKS, Measurement, chosen_tasks, measurements, timed_scores
from mri_iahvae.results.figures import grid_figure

HERE = Path(__file__).parent
_GAIN = 5
"""Errors in figures are brightened by this factor."""


def measure(method: Method, measured: list[Measurement]) -> dict[str, float]:
    """Mean scores over all slices, and processor seconds per slice."""
    method.run(measured[0].part(slice(1)))  # what is loaded and compiled at the first call is no slice's time
    return timed_scores(method.run, measured)


def draw(folder: Path, measured: Measurement, shown: Sequence[Method]) -> Path:
    """Magnitudes of a file's middle slice, the reference first, and their errors below."""
    middle = len(measured.kspace) // 2
    one = measured.part(slice(middle, middle + 1))
    reference = one.reference[0]
    images = [np.abs(method.run(one)[0]) for method in shown]
    errors = [_GAIN * np.abs(image - reference) for image in images]
    titles = [f"{m.name}\nNMSE {one.scored(i[None])[0].nmse:.4f}" for m, i in zip(shown, images, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '_', measured.task.name.lower())}.png"
    # The window of the second row is that of the reference, too: its first image is the reference again.
    rows = [[reference, *images], [reference, *errors]]
    grid_figure(path, rows, ["reference", *titles], f"{measured.task.name}; below, errors x{_GAIN}")
    return path


@click.command()
@options.data
@options.checkpoint
@options.output
@options.only
@click.option(
    "--method", "names", type=click.Choice(list(OURS)), multiple=True, help="Only these, of our methods."
)
@click.option("--figures", type=click.Path(path_type=Path), help="Draw one slice of each task into a folder.")
@options.limit
def main(
    data: Path,
    checkpoint: str,
    output: Path | None,
    only: tuple[str, ...],
    names: tuple[str, ...],
    figures: Path | None,
    limit: int | None,
) -> None:
    """Score all tasks on the fully sampled fastMRI-schema files in DATA; rows in the JSON file are kept."""
    tools = Tools.load(checkpoint, HERE / "classical.json", HERE / "unet.safetensors")
    plan = {}
    for task in TASKS:  # of all, so that the rows of tasks not chosen stay
        measured = measurements(data, task, slice(limit))
        plan[task.name] = {m.name: fingerprint(measured, m.identity) for m in methods(task, tools, names)}
    results = Results(output, plan, facts(tools.ours.sha256, measured))
    for task in chosen_tasks(only):
        measured = measurements(data, task, slice(limit))
        shown = methods(task, tools, names)
        if figures:
            click.echo(f"wrote {draw(figures, measured[0], shown)}")
        for method in shown:
            made = not results.has(task.name, method.name)
            if made:
                results.add(task.name, method.name, measure(method, measured))
            scores = scores_line(results.rows[task.name][method.name])
            click.echo(f"{task.name:30} {method.name:18} {scores}{'' if made else '  (kept)'}")


if __name__ == "__main__":
    main()
