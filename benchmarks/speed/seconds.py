"""Seconds per slice and peak memory by preset, batch 1 and the fastest one, float32 and bfloat16.

    python -m benchmarks.speed.seconds --json seconds.json

Everything is measured; the weights are untrained, which time does not depend on.
"""

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import torch

from benchmarks.speed.clock import interleaved, line, peak_memory, random_kspace, timed, untrained
from mri_iahvae.inference.settings import InferenceSettings, Precision
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS
from mri_iahvae.pipeline.devices import find_device
from mri_iahvae.pipeline.volume import reconstruct_volume

BUDGETS = (5, 10, 25, 50)

_FEW = (1, 3)  # steps that are always timed
_PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def reconstruction(model: IAHVAE, batch: int, settings: InferenceSettings) -> Callable[[], object]:
    """A run on a batch, everything measured."""
    kspace = random_kspace(model, batch).cpu().numpy()
    return lambda: reconstruct_volume(model, kspace, None, settings, batch=batch)


def run_once(preset: str, batch: int, precision: Precision, device: str) -> None:
    """Three steps of a preset, weights and all: what peak memory is measured of."""
    model = untrained(PRESETS[preset], torch.device(device))
    reconstruction(model, batch, InferenceSettings("hybrid", 3, precision=precision))()


def best_batch(model: IAHVAE, precision: Precision, most: int) -> int:
    """The fastest batch per slice, of 1, 2, 4 ...: the last one before a larger one gains less than 3 %."""
    settings = InferenceSettings("hybrid", 1, precision=precision)
    reconstruction(model, 1, settings)()  # libraries choose their algorithms in the first run
    best, fastest = 0, float("inf")
    while 2 * best <= most:
        batch = 2 * best or 1
        try:
            _, taken = timed(reconstruction(model, batch, settings), model.gains.device)
        except torch.OutOfMemoryError:
            break
        if taken / batch > 0.97 * fastest:
            break
        best, fastest = batch, taken / batch
    return best


def slice_seconds(
    model: IAHVAE, batch: int, precision: Precision, rounds: int, longest: float
) -> dict[int, tuple[float, bool]]:
    """Seconds per slice by N, 0 for the amortized method, and whether that was timed.

    Runs that would take more than `longest` seconds are read off the line through a few steps.
    """

    def medians(numbers: Sequence[int]) -> dict[int, float]:
        runs = {
            n: reconstruction(
                model, batch, InferenceSettings("hybrid" if n else "amortized", n, precision=precision)
            )
            for n in numbers
        }
        return interleaved(runs, model.gains.device, rounds, limit=4 * longest)

    first = medians([0, *_FEW])
    expected = line({n: first[n] for n in _FEW})
    timed_too = medians([n for n in BUDGETS if expected(n) <= longest])
    found = {n: (timed_too.get(n, expected(n)) / batch, n in timed_too) for n in BUDGETS}
    return {0: (first[0] / batch, True), **found}


@click.command()
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write the numbers to a file.")
@click.option("--preset", "presets", multiple=True, default=("small", "base", "paper"), show_default=True)
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option("--threads", type=int, help="CPU threads; all by default.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each timing; the median counts.")
@click.option("--longest", default=3.0, show_default=True, help="Seconds of a run that is timed.")
@click.option("--most", type=int, help="Largest batch; 16 on a CPU, 256 on CUDA by default.")
def main(
    output: Path | None,
    presets: tuple[str, ...],
    device_name: str,
    threads: int | None,
    rounds: int,
    longest: float,
    most: int | None,
) -> None:
    """Print a table."""
    device = find_device(device_name)
    if threads:
        torch.set_num_threads(threads)
    most = most or (256 if device.type == "cuda" else 16)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    results: dict[str, Any] = {
        "torch": str(torch.__version__),
        "device": machine,
        "threads": torch.get_num_threads(),
    }
    click.echo(", ".join(f"{key} {value}" for key, value in results.items()))
    for name in presets:
        model = untrained(PRESETS[name], device)
        click.echo(f"\npreset {name}, L = {model.config.depth}, {model.size}x{model.size}")
        best = max(best_batch(model, precision, most) for precision in _PRECISIONS)
        rows = results[name] = {"best_batch": best}
        for batch in sorted({1, best}):
            for precision in _PRECISIONS:
                key = f"batch{batch}.{precision}"
                taken = peak_memory(run_once, name, batch, precision, str(device), device=device)
                rows[f"{key}.peak_bytes"] = taken
                click.echo(f"  batch {batch:3} {precision:9} peak memory {taken / 2**20:8.0f} MiB")
                times = slice_seconds(model, batch, precision, rounds, longest)
                for n, (seconds, direct) in times.items():
                    rows[f"{key}.N{n}"] = {"seconds_per_slice": seconds, "timed": direct}
                    mark = "" if direct else " ~"
                    click.echo(f"  batch {batch:3} {precision:9} N = {n:2} {seconds:9.4f} s/slice{mark}")
    click.echo("N = 0: amortized; ~: from the seconds per step of 1 and 3 steps")
    if output is not None:
        output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
