"""Seconds per slice and peak memory by preset, float32 and bfloat16.

    python -m benchmarks.speed.seconds --json seconds.json

Everything is measured; the weights are untrained, which time does not depend on. Seconds grow with the number of steps
along a line, which two numbers show.
"""

import platform
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.shared import options
from benchmarks.speed import timing
from benchmarks.speed.peak_memory import peak_memory
from benchmarks.speed.timing import untrained
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings, Precision
from mri_iahvae.model.presets import PRESETS
from mri_iahvae.pipeline.devices import find_device

METHODS = {f"N{n}": partial(InferenceSettings, "hybrid", n) for n in (5, 10)}
METHODS["amortized"] = partial(InferenceSettings, "amortized")
BATCHES = (1, 8)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
ROUNDS = 3


def run_once(preset: str, batch: int, precision: Precision, device: str) -> None:
    """A few steps of a preset, weights and all: what peak memory is measured of."""
    timing.seconds(untrained(PRESETS[preset], device), METHODS["N5"](precision=precision), batch)


@click.command()
@options.output
@click.option("--preset", "presets", multiple=True, default=("small", "base", "paper"), show_default=True)
@click.option("--device", "name", default="cpu", show_default=True)
def main(output: Path | None, presets: tuple[str, ...], name: str) -> None:
    """Print a table; a time is the median of some rounds."""
    device = find_device(name)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    facts = {"torch": str(torch.__version__), "device": machine, "threads": torch.get_num_threads()}
    results: dict[str, Any] = dict(facts)
    for preset in presets:
        model, rows = untrained(PRESETS[preset], str(device)), results.setdefault(preset, {})
        for batch in BATCHES:
            for precision in PRECISIONS:
                taken = peak_memory(run_once, preset, batch, precision, str(device), device=device)
                row = rows[f"batch{batch}.{precision}"] = {"peak_bytes": taken}
                for method, settings in METHODS.items():
                    run = partial(timing.seconds, model, settings(precision=precision), batch)
                    row[method] = statistics.median(run() for _ in range(ROUNDS)) / batch
                seconds = "  ".join(f"{method} {row[method]:.4f} s/slice" for method in METHODS)
                click.echo(f"{preset:6} batch {batch} {precision:9} {taken / 2**20:6.0f} MiB  {seconds}")
    if output is not None:
        write_json(output, results)


if __name__ == "__main__":
    main()
