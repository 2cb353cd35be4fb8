"""Part c of `refinement.py`: seconds per slice and peak memory by preset."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import click
import torch

from benchmarks.speed.clock import Line, interleaved, peak_memory, random_kspace, timed, untrained
from mri_iahvae.inference.settings import InferenceSettings, Precision
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS
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
    model: IAHVAE, batch: int, methods: Sequence[str], rounds: int, longest: float
) -> dict[tuple[Precision, str, int], tuple[float, bool]]:
    """Seconds per slice by precision, method and N, and whether that was timed.

    Runs that would take more than `longest` seconds are read off the line through a few steps.
    """
    device = model.gains.device

    def medians(keys: list[tuple[Precision, str, int]]) -> dict[tuple[Precision, str, int], float]:
        runs = {
            (p, m, n): reconstruction(model, batch, InferenceSettings(m, n, precision=p))  # type: ignore[arg-type]
            for p, m, n in keys
        }
        return interleaved(runs, device, rounds, limit=4 * longest)

    refining = [method for method in methods if method != "amortized"]
    first = medians(
        [(p, "amortized", 0) for p in _PRECISIONS]
        + [(p, m, n) for p in _PRECISIONS for m in refining for n in _FEW]
    )
    lines = {(p, m): Line.through({n: first[p, m, n] for n in _FEW}) for p in _PRECISIONS for m in refining}
    wanted = [(p, m, n) for (p, m) in lines for n in BUDGETS]
    second = medians([key for key in wanted if lines[key[:2]].at(key[2]) <= longest])
    found = {key: (first[key] / batch, True) for key in first if key[1] == "amortized"}
    for key in wanted:
        taken = second.get(key, lines[key[:2]].at(key[2]))
        found[key] = (taken / batch, key in second)
    return found


def part(
    device: torch.device, presets: Sequence[str], rounds: int, longest: float, most: int
) -> dict[str, Any]:
    """Time presets, and print the table.

    Args:
        device: where.
        presets: names.
        rounds: of timing.
        longest: seconds of a run that is still timed.
        most: largest batch.
    """
    results: dict[str, Any] = {}
    for name in presets:
        model = untrained(PRESETS[name], device)
        click.echo(
            f"\npreset {name}, L = {model.config.depth}, {model.size}x{model.size}, everything measured"
        )
        best = max(best_batch(model, precision, most) for precision in _PRECISIONS)
        results[name] = {"best_batch": best}
        for batch in sorted({1, best}):
            for precision in _PRECISIONS:
                taken = peak_memory(run_once, name, batch, precision, str(device), device=device)
                results[name][f"batch{batch}.{precision}.peak_bytes"] = taken
                click.echo(f"  batch {batch:3} {precision:9} peak memory {taken / 2**20:8.0f} MiB")
            times = slice_seconds(model, batch, ("amortized", "hybrid"), rounds, longest)
            for (precision, method, n), (taken, direct) in times.items():
                key = f"batch{batch}.{precision}.{method}" + (f".N{n}" if n else "")
                results[name][key] = {"seconds_per_slice": taken, "timed": direct}
                mark = "" if direct else " ~"
                click.echo(f"  batch {batch:3} {precision:9} {method:9} N = {n:2} {taken:9.4f} s/slice{mark}")
    click.echo("~ from the seconds per step of 1 and 3 steps")
    return results
