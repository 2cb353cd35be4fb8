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

import time
from pathlib import Path

import click

from benchmarks.quality.methods import OURS, Method, Tools, methods
from benchmarks.quality.rows import Results, facts, fingerprint
from benchmarks.shared import options
from benchmarks.shared.tasks import TASKS, Measurement, chosen_tasks, means, measurements

HERE = Path(__file__).parent


def measure(method: Method, measured: list[Measurement]) -> dict[str, float]:
    """Mean scores over all slices, and processor seconds per slice."""
    method.run(measured[0].part(slice(1)))  # what is loaded and compiled at the first call is no slice's time
    start = time.process_time()
    images = [method.run(one) for one in measured]
    seconds = time.process_time() - start
    scores = [each for one, image in zip(measured, images, strict=True) for each in one.scored(image)]
    return {**means(scores), "seconds_per_slice": seconds / len(scores)}


@click.command()
@options.data
@options.checkpoint
@options.output
@options.only
@click.option(
    "--method", "names", type=click.Choice(list(OURS)), multiple=True, help="Only these, of our methods."
)
@options.limit
def main(
    data: Path,
    checkpoint: str,
    output: Path | None,
    only: tuple[str, ...],
    names: tuple[str, ...],
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
        for method in methods(task, tools, names):
            made = not results.has(task.name, method.name)
            if made:
                results.add(task.name, method.name, measure(method, measured))
            row = results.rows[task.name][method.name]
            click.echo(
                f"{task.name:30} {method.name:18} NMSE {row['nmse']:.5f}  PSNR {row['psnr']:6.2f}  "
                f"SSIM {row['ssim']:.4f}  {row['seconds_per_slice']:7.3f} s/slice{'' if made else '  (kept)'}"
            )


if __name__ == "__main__":
    main()
