"""Quality of reconstruction on fully sampled scans: ours beside zero-filling, compressed sensing, BM3D and a U-Net.

    python benchmarks/quality.py data/reporting --json benchmarks/quality.json

Every slice is scored as a volume of its own (NMSE, PSNR, SSIM as fastMRI defines them, data range = the slice's
maximum) against the noise-free reference; a row is the mean over slices. Time is processor time of one slice in a
batch of its file, all threads together: other work on the machine does not count.

The file is written after every row, and a second run goes on where the first stopped: only rows whose measurements,
weights or settings have changed are made again. Several processes can share the work:

    python benchmarks/quality.py data/reporting --task "up to" --task columns --json part.json
    python benchmarks/quality.py data/reporting --merge part.json --json benchmarks/quality.json

`classical.py` tunes the regularisation weights, `unet.py` trains the U-Net, `quality_tables.py` writes the tables of
README and model card.
"""

import time
from pathlib import Path

import click
import numpy as np
import torch
from quality_figures import draw
from quality_methods import OURS, Method, Tools, left_out, methods
from quality_results import Results, fingerprint
from quality_tasks import TASKS, Measurement, chosen_tasks, measurements

HERE = Path(__file__).parent


def measure(method: Method, measured: list[Measurement]) -> dict[str, float]:
    """Mean scores over all slices, and processor seconds per slice."""
    first = measured[0]
    method.run(first.part(slice(1)))  # what is loaded and compiled at the first call is no slice's time
    start = time.process_time()
    images = [method.run(one) for one in measured]
    seconds = time.process_time() - start
    scores = [vars(s) for one, image in zip(measured, images, strict=True) for s in one.scored(image)]
    means = {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}
    return {**means, "seconds_per_slice": seconds / len(scores)}


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", default="small", show_default=True)
@click.option(
    "--unet",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=HERE / "unet.safetensors" if (HERE / "unet.safetensors").exists() else None,
    help="Weights of the U-Net, made by unet.py; benchmarks/unet.safetensors where it exists.",
)
@click.option(
    "--json", "output", type=click.Path(path_type=Path), help="Rows go here, and are taken from here."
)
@click.option(
    "--merge", type=click.Path(exists=True, path_type=Path), multiple=True, help="Take rows from here, too."
)
@click.option("--task", "only", multiple=True, help="Only tasks whose name holds this text.")
@click.option(
    "--method",
    "names",
    type=click.Choice(list(OURS)),
    multiple=True,
    help="These of our methods, and no others.",
)
@click.option("--slices", "limit", type=int, help="Only the first slices of each file.")
@click.option(
    "--figures", type=click.Path(path_type=Path), help="Also draw one slice of each task into a folder."
)
def main(
    data: Path,
    checkpoint: str,
    unet: Path | None,
    output: Path | None,
    merge: tuple[Path, ...],
    only: tuple[str, ...],
    names: tuple[str, ...],
    limit: int | None,
    figures: Path | None,
) -> None:
    """Score all tasks on the fully sampled fastMRI-schema files in DATA."""
    tools = Tools.load(checkpoint, HERE / "classical.json", unet)
    for line in () if names else left_out(tools):
        click.echo(f"left out: {line}", err=True)
    plan = {}
    for task in TASKS:  # of all, so that the rows of tasks not chosen stay
        measured = measurements(data, task, slice(limit))
        plan[task.name] = {m.name: fingerprint(measured, m.identity) for m in methods(task, tools, names)}
    facts = {
        "model_sha256": tools.digest,
        "slices": sum(len(one.kspace) for one in measured),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }
    results = Results(output, plan, facts, merge)
    results.save()
    for task in chosen_tasks(only):
        measured = measurements(data, task, slice(limit))
        available = methods(task, tools, names)
        for method in available:
            made = not results.has(task.name, method.name)
            if made:
                results.add(task.name, method.name, measure(method, measured))
            row = results.rows[task.name][method.name]
            click.echo(
                f"{task.name:30} {method.name:18} NMSE {row['nmse']:.5f}  PSNR {row['psnr']:6.2f}  "
                f"SSIM {row['ssim']:.4f}  {row['seconds_per_slice']:7.3f} s/slice{'' if made else '  (kept)'}"
            )
        if figures:
            click.echo(f"wrote {draw(figures, measured[0], available)}")


if __name__ == "__main__":
    main()
