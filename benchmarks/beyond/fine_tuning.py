"""What fine-tuning gains: NMSE at native sizes after training on so many slices, over that before, as table and figure.

    python -m benchmarks.beyond.fine_tuning 0=benchmarks/quality/native_knee.json \\
        1000=benchmarks/beyond/fine_tuning_1000.json 4000=benchmarks/beyond/fine_tuning_4000.json \\
        -o docs/figures/fine_tuning.png

Each file is one of `benchmarks.quality.native`, with the number of slices that its model was trained on; the first is
that of the model before.
"""

import json
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from mri_iahvae.files import atomic_path


def gains(before: dict[str, dict], after: dict[str, dict]) -> dict[str, list[float]]:
    """Change of NMSE, in per cent, of each size, by task."""
    tasks = next(iter(before.values()))
    return {
        task: [100 * (after[size][task]["nmse"] / before[size][task]["nmse"] - 1) for size in before]
        for task in tasks
    }


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="SLICES=JSON...")
@click.option("-o", "--figure", type=click.Path(dir_okay=False, path_type=Path), help="PNG to write.")
def main(files: tuple[str, ...], figure: Path | None) -> None:
    """Compare models that were trained on for so many SLICES."""
    pairs = [text.partition("=") for text in files]
    results = {int(count): json.loads(Path(path).read_text())["results"] for count, _, path in pairs}
    first, *_ = results.values()
    tasks = next(iter(first.values()))
    found = {count: gains(first, one) for count, one in results.items()}
    click.echo(f"| task | {' | '.join(f'{count:,} slices' for count in found)} |")
    for task in tasks:
        cells = (
            f"{np.mean(one[task]):+.1f} ({min(one[task]):+.1f} to {max(one[task]):+.1f})"
            for one in found.values()
        )
        click.echo(f"| {task} | {' | '.join(cells)} |")
    if figure is not None:
        drawn = Figure(figsize=(5, 3.2), dpi=120, layout="constrained")
        axes = drawn.subplots()
        for style, task in zip(("k-o", "k--s", "k:^"), tasks, strict=False):
            axes.plot(list(found), [np.mean(one[task]) for one in found.values()], style, label=task)
        axes.set(xlabel="slices seen in fine-tuning", ylabel="change of NMSE, %")
        axes.legend(fontsize=8)
        with atomic_path(figure) as part:
            drawn.savefig(part, format="png")


if __name__ == "__main__":
    main()
