"""Parts c and d of `speed.py`: seconds per slice and peak memory by preset, beside the paper's times and a floor."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, get_args

import click
import torch
from mri_iahvae.inference.engine import infer
from mri_iahvae.inference.graphs import eager
from timing import Line, Work, interleaved, peak_memory, random_kspace, timed, untrained, work

from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.settings import InferenceSettings, Precision
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS

BUDGETS = (5, 10, 25, 50)

PAPER = {
    ("amortized", 0): 0.081,
    **dict(zip([("hybrid", n) for n in BUDGETS], (0.162, 0.169, 0.192, 0.293), strict=True)),
    **dict(zip([("iterative", n) for n in BUDGETS], (0.093, 0.102, 0.142, 0.266), strict=True)),
}
"""Seconds per slice on an RTX 2080 Ti, L = 40, 128 x 128 (the paper's Table 1)."""

_FEW = (1, 3)  # steps that are always timed
_PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Peaks = dict[str, float | None]
"""FLOP per second of each precision, and "bandwidth" in bytes per second; None where unknown."""


def reconstruction(model: IAHVAE, batch: int, settings: InferenceSettings) -> Callable[[], object]:
    """A run of the engine, everything measured."""
    kspace = random_kspace(model, batch)
    mask = torch.ones(kspace.shape, dtype=torch.bool, device=kspace.device)
    quiet = torch.zeros(batch, device=kspace.device)
    return lambda: infer(model, kspace, mask, quiet, settings, [Row(number) for number in range(batch)])


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
    device: torch.device,
    presets: Sequence[str],
    methods: Sequence[str],
    rounds: int,
    longest: float,
    most: int,
    peaks: Peaks | None = None,
) -> dict[str, Any]:
    """Time presets, and print the table.

    Args:
        device: where.
        presets: names.
        methods: of "amortized", "hybrid" and "iterative".
        rounds: of timing.
        longest: seconds of a run that is still timed.
        most: largest batch.
        peaks: to compare with the paper's times and a floor.
    """
    results: dict[str, Any] = {}
    for name in presets:
        model = untrained(PRESETS[name], device)
        depth = model.config.depth
        click.echo(f"\npreset {name}, L = {depth}, {model.size}x{model.size}, everything measured")
        best = max(best_batch(model, precision, most) for precision in _PRECISIONS)
        floors = {} if peaks is None else floor(model, methods)
        results[name] = {"best_batch": best}
        for batch in sorted({1, best}):
            memory = {
                p: peak_memory(run_once, name, batch, p, str(device), device=device) for p in _PRECISIONS
            }
            for precision, taken in memory.items():
                results[name][f"batch{batch}.{precision}.peak_bytes"] = taken
                click.echo(f"  batch {batch:3} {precision:9} peak memory {taken / 2**20:8.0f} MiB")
            # On CUDA refinement is replayed from graphs; beside it, every kernel launched by itself.
            kinds = ("", ".eager") if device.type == "cuda" else ("",)
            for kind in kinds:
                with eager() if kind else nullcontext():
                    times = slice_seconds(model, batch, methods, rounds, longest)
                for (precision, method, n), (taken, direct) in times.items():
                    key = f"batch{batch}.{precision}.{method}" + (f".N{n}" if n else "") + kind
                    results[name][key] = {"seconds_per_slice": taken, "timed": direct}
                    line = (
                        f"  batch {batch:3} {precision:9} {method:9}{kind:6} N = {n:2} {taken:9.4f} s/slice"
                    )
                    line += "  " if direct else " ~"
                    if peaks is not None:
                        results[name][key] |= _beside(
                            floors[method, n], precision, taken, PAPER[method, n], peaks
                        )
                        line += _comment(results[name][key])
                    click.echo(line)
    click.echo("~ from the seconds per step of 1 and 3 steps")
    return results


def floor(model: IAHVAE, methods: Sequence[str]) -> dict[tuple[str, int], Work]:
    """Operations and bytes of the convolutions for one slice, float32, by method and N; linear in N."""

    def counted(method: str, n: int) -> Work:
        with eager():  # what a graph replays cannot be counted
            return work(reconstruction(model, 1, InferenceSettings(method, n)))  # type: ignore[arg-type]

    found = {("amortized", 0): counted("amortized", 0)}
    for method in methods:
        if method != "amortized":
            one, two = counted(method, 1), counted(method, 2)
            step = two.plus(one, -1.0)
            found |= {(method, n): one.plus(step, n - 1) for n in BUDGETS}
    return found


def _beside(
    counted: Work, precision: Precision, taken: float, paper: float, peaks: Peaks
) -> dict[str, float]:
    """A slice's floor, and the paper's time."""
    size = 0.5 if precision == "bfloat16" else 1.0
    row = {
        "flops": counted.flops,
        "bytes": size * counted.bytes,
        "paper_seconds": paper,
        "paper_over_ours": paper / taken,
    }
    compute, bandwidth = peaks.get(precision), peaks.get("bandwidth")
    if compute and bandwidth:
        row["floor_seconds"] = max(row["flops"] / compute, row["bytes"] / bandwidth)
        row["over_floor"] = taken / row["floor_seconds"]
    return row


def _comment(row: dict[str, float]) -> str:
    text = f"  paper {row['paper_seconds']:.3f} s, {row['paper_over_ours']:6.2f} x"
    text += f"  {row['flops'] / 1e9:8.1f} GFLOP {row['bytes'] / 1e9:7.2f} GB"
    if "floor_seconds" in row:
        text += f"  floor {row['floor_seconds']:.5f} s, {row['over_floor']:.0f} x above it"
    return text
