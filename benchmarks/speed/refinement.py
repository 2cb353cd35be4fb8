"""Speed of refinement, all sides on the same weights, taking turns in one run.

    python -m benchmarks.speed.refinement data/reporting --json benchmarks/speed/refinement.json

Parts:
    a  cost of the separable gradient against the ordinary HVAE's, for every schedule: narrow untrained models of
       M = 1, 2, 5, 8 layers per scale, and the shipped model with its NMSE
    b  seconds per slice until the NMSE of `paper` at N = 50 is reached
    c  seconds per slice and peak memory by preset, batch 1 and the fastest one, float32 and bfloat16

Numbers of parts that are not run stay in the JSON file. Its keys are dotted, as `speedup.joint_over_layerwise.M5`.
"""

import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.speed import gradient, seconds, to_quality
from benchmarks.speed.clock import untrained
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS
from mri_iahvae.pipeline.devices import find_device

PARTS = ("a", "b", "c")
_BATCH = 4  # of part b


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        model: the shipped one, or a stand-in.
        label: its name.
        device: where.
        rounds: turns of each timing.
        slices: of part b.
        longest: seconds of a run of part c that is still timed.
        depths: M of the narrow models.
        size: side of their grid.
        steps: N of the schedules on scans.
        presets: of part c.
        most: largest batch of part c.
    """

    model: IAHVAE
    label: str
    device: torch.device
    rounds: int
    slices: int
    longest: float
    depths: tuple[int, ...] = (1, 2, 5, 8)
    size: int = 128
    steps: int = gradient.STEPS
    presets: tuple[str, ...] = ("small", "base", "paper")
    most: int = 16

    def measure(self, part: str, data: Path) -> dict[str, Any]:
        """Numbers of one part, by dotted keys."""
        if part == "a":
            narrow = gradient.part(self.device, self.rounds, self.depths, self.size)
            chosen = to_quality.samples(data, to_quality.EVERYTHING, max(1, self.slices // 4))
            trained = to_quality.schedules(self.model, chosen, self.label, self.steps)
            return dict(flat(narrow)) | dict(flat(trained))
        if part == "b":
            found = {
                name: to_quality.time_to_quality(self.model, data, self.slices, _BATCH, task)
                for name, task in to_quality.tasks(self.model.size).items()
            }
            return dict(flat({"time_to_quality": found}))
        found = seconds.part(self.device, self.presets, self.rounds, self.longest, self.most)
        return dict(flat({"slices": found}))


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested dicts as dotted keys; what is not finite becomes None."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            finite = not isinstance(value, float) or math.isfinite(value)
            yield f"{prefix}{key}", value if finite else None


def record(output: Path, values: dict[str, Any]) -> None:
    """Put numbers into the JSON file, in place of all of the same kind."""
    old = json.loads(output.read_text()) if output.exists() else {}
    kinds = {key.split(".")[0] for key in values}
    kept = {key: value for key, value in old.items() if key.split(".")[0] not in kinds}
    output.write_text(json.dumps(kept | values, indent=1) + "\n")


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write the numbers to a file.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Default: all.")
@click.option("--checkpoint", default="small", show_default=True)
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option("--threads", type=int, help="CPU threads; all by default.")
@click.option(
    "--rounds", default=3, show_default=True, help="Turns that each timing takes; the median counts."
)
@click.option("--slices", default=8, show_default=True, help="Slices of part b; a quarter of them in part a.")
@click.option("--longest", default=3.0, show_default=True, help="Seconds of a run of part c that is timed.")
@click.option("--quick", is_flag=True, help="Dry run on tiny untrained models: no number means anything.")
def main(
    data: Path,
    output: Path | None,
    parts: tuple[str, ...],
    checkpoint: str,
    device_name: str,
    threads: int | None,
    rounds: int,
    slices: int,
    longest: float,
    quick: bool,
) -> None:
    """Measure speed on the fully sampled fastMRI-schema files in DATA."""
    device = find_device(device_name)
    if threads:
        torch.set_num_threads(threads)
    if quick:
        stand_in = untrained(PRESETS["tiny"], device)
        plan, digest = Plan(stand_in, "tiny", device, 1, 2, 0.0, (1, 2), 8, 3, ("tiny",), 1), None
    else:
        model, digest = load_model(checkpoint, device)
        plan = Plan(model, checkpoint, device, rounds, slices, longest)
        plan = replace(plan, most=256) if device.type == "cuda" else plan
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    about = {"torch": str(torch.__version__), "device": machine, "threads": torch.get_num_threads()}
    click.echo(", ".join(f"{key} {value}" for key, value in about.items()))
    for part in parts or PARTS:
        click.echo(f"\n== part {part}")
        start = time.perf_counter()
        values = plan.measure(part, data)
        taken = time.perf_counter() - start
        click.echo(f"part {part} took {taken:.0f} s")
        if output is not None:
            run = {**about, "model_sha256": digest, "seconds": taken}
            record(output, values | dict(flat({f"part_{part}": run})))


if __name__ == "__main__":
    main()
