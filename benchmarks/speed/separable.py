"""What separability gains: seconds of refinement in the separable hierarchy and in an ordinary one of the same layers.

    python -m benchmarks.speed.separable --json benchmarks/speed/separable.json

Both have M layers at each of the eight scales of a 128 x 128 grid, 32 channels wide, and untrained weights, which time
does not depend on. Everything is measured; refinement starts from the prior's mean. "Layer by layer" is the paper's
schedule: N steps for each layer, the coarser ones fixed. In the ordinary hierarchy the gradient of each latent runs
through all later layers. "All at once" moves all latents together. Time is linear in N: it is taken of 1 and of 3
steps, in turns, the median of some rounds.
"""

import statistics
from dataclasses import replace
from pathlib import Path

import click
import torch

from benchmarks.quality.tables import markdown
from benchmarks.shared import options
from benchmarks.shared.report import line
from benchmarks.speed.timing import seconds, untrained
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings, Schedule
from mri_iahvae.model.config import Decoder, Encoder, ModelConfig, ScaleConfig

SCALES = 8
STEPS = 25
_FEW, _MORE = 1, 3
RUNS: dict[str, tuple[Decoder, Schedule]] = {
    "separable, scale by scale": ("separable", "joint"),
    "separable, layer by layer": ("separable", "sequential"),
    "ordinary, layer by layer": ("ordinary", "sequential"),
    "ordinary, all at once": ("ordinary", "joint"),
}


def config(decoder: Decoder, layers: int) -> ModelConfig:
    """A hierarchy of this many layers a scale."""
    encoder: Encoder = "causal" if decoder == "separable" else "bottom-up"
    return ModelConfig((ScaleConfig(layers, 32, 16),) * SCALES, decoder=decoder, encoder=encoder)


@click.command()
@click.option("--layers", "depths", type=int, multiple=True, default=(1, 2, 5), show_default=True)
@click.option("--rounds", default=3, show_default=True)
@options.output
def main(depths: tuple[int, ...], rounds: int, output: Path | None) -> None:
    """Print seconds of 25 steps for each number of layers a scale."""
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for layers in depths:
        taken: dict[tuple[str, int], list[float]] = {}
        models = {decoder: untrained(config(decoder, layers)) for decoder, _ in RUNS.values()}
        for _ in range(rounds):
            for name, (decoder, schedule) in RUNS.items():
                for steps in (_FEW, _MORE):
                    settings = InferenceSettings("iterative", steps, precision="float32")
                    took = seconds(models[decoder], replace(settings, schedule=schedule))
                    taken.setdefault((name, steps), []).append(took)
        few, more = ({n: statistics.median(taken[n, steps]) for n in RUNS} for steps in (_FEW, _MORE))
        each = {name: (more[name] - few[name]) / (_MORE - _FEW) for name in RUNS}
        results[str(layers)] = {name: few[name] + (STEPS - _FEW) * each[name] for name in RUNS}
        click.echo(f"{layers} layers a scale: {line(results[str(layers)], '.1f')} s")
    if output is not None:
        write_json(output, {"torch": str(torch.__version__), "steps": STEPS, "seconds": results})
    joint, sequential, ordinary, once = RUNS
    lines = [["M (L)", *RUNS, "scale by scale", "like for like", "all at once"], ["---"] * (len(RUNS) + 4)]
    for depth, row in results.items():
        ratios = row[ordinary] / row[joint], row[ordinary] / row[sequential], row[once] / row[joint]
        cells = [*(f"{row[name]:.1f}" for name in RUNS), *(f"{ratio:.1f}x" for ratio in ratios)]
        lines.append([f"{depth} ({int(depth) * SCALES})", *cells])
    click.echo(markdown(lines))


if __name__ == "__main__":
    main()
