"""Part a of `refinement.py`: the cost of refinement against depth, separable against the ordinary HVAE's gradient."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise, product
from typing import Any

import click
import numpy as np
import torch

from benchmarks.speed.clock import Line, counted_evaluations, interleaved, random_kspace, untrained
from benchmarks.speed.ordinary import (
    ORDINARY,
    SEPARABLE,
    Block,
    Measurement,
    Ordinary,
    Schedule,
    Separable,
    blocks,
    descend,
    evaluations,
    origin,
    refine_block,
)
from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.kspace.bands import band_mask, split
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE

STEPS = 25
PAPER_SPEEDUP = 35.0
PAIRS = tuple(product(SEPARABLE, ORDINARY))

_FEW = (1, 2, 4)  # steps that are timed, to see that time is linear in them ...
_FEWER = (1, 3)  # ... and of the schedules that take longest
_LIMIT = 60.0  # seconds after which a model's schedules take no further turn

Run = Callable[[int], None]
"""Refines by so many steps."""


def narrow(layers: int, size: int) -> ModelConfig:
    """M layers of 32 channels (16 inside) at every scale, every scale at its own resolution."""
    return ModelConfig(tuple(ScaleConfig(layers, 32, 16) for _ in range(size.bit_length())))


class Bench:
    """One slice of random bins, refined from random latents on an untrained model: only the time counts."""

    def __init__(self, model: IAHVAE) -> None:
        self.model = model
        count = len(model.decoder)
        self.layers = [len(model.layers(index)) for index in range(count)]
        data = split(random_kspace(model, 1))
        weight = [band_mask(d.shape[-1], d.device) / (2 * model.config.sigma**2) for d in data]
        self.measurement = Measurement(data, [w[None] for w in weight], [])
        noise = torch.Generator().manual_seed(1)
        shapes = [
            model.latent_shape(index) for index, number in enumerate(self.layers) for _ in range(number)
        ]
        self.start = [
            0.5 * torch.randn(1, *shape, generator=noise).to(model.gains.device) for shape in shapes
        ]
        self.deviation = [torch.ones_like(e) for e in self.start]
        with torch.no_grad():
            self.places = [origin(model, 1)]
            for latent in self.start:
                self.places.append(descend(model, self.places[-1], [latent])[1])

    def separable(self, schedule: Separable) -> Run:
        """The package's refinement, scale by scale."""
        firsts = np.cumsum([0, *self.layers]).tolist()
        turns = []
        for index, (first, stop) in enumerate(pairwise(firsts)):
            start, deviation = self.start[first:stop], self.deviation[first:stop]
            centre = [torch.zeros_like(e) for e in start]
            data, weight = self.measurement.data[index], self.measurement.weight[index]
            problem = Problem(self.model, index, self.places[first].h, centre, data, weight)
            turns.append((problem, start, deviation))

        @torch.no_grad()
        def run(steps: int) -> None:
            for problem, start, deviation in turns:
                refine(problem, start, deviation, steps=steps, schedule=schedule)

        return run

    def ordinary(self, schedule: Ordinary) -> Run:
        """The ordinary gradient, block by block."""
        turns = [self.block(block) for block in blocks(self.layers, schedule)]

        def run(steps: int) -> None:
            for turn in turns:
                turn(steps)

        return run

    def layers_alone(self) -> dict[int, Run]:
        """The first and the last layer of each scale, of schedule "layerwise"; time is linear between them."""
        chosen = blocks(self.layers, "layerwise")
        edges = {0, *np.cumsum(self.layers)[:-1].tolist()}
        edges |= {int(last) - 1 for last in np.cumsum(self.layers)}
        return {layer: self.block(chosen[layer]) for layer in sorted(edges)}

    def block(self, block: Block) -> Run:
        """The ordinary gradient, and the step to the next block."""
        place, moving = self.places[block.first], block.stop - block.first
        start, deviation = self.start[block.first :], self.deviation[block.first :]

        @torch.no_grad()
        def run(steps: int) -> None:
            latents = refine_block(self.model, self.measurement, place, start, deviation, moving, steps)
            descend(self.model, place, latents)

        return run


def time_schedules(model: IAHVAE, rounds: int) -> dict[Schedule, dict[str, float]]:
    """Seconds of each schedule at N = 25, from the line through a few steps, and how far those are from it."""
    bench, device = Bench(model), model.gains.device
    whole: dict[Schedule, Run] = {name: bench.separable(name) for name in SEPARABLE}
    whole |= {name: bench.ordinary(name) for name in ORDINARY if name != "layerwise"}
    alone = bench.layers_alone()
    for name, run in whole.items():
        if counted_evaluations(partial(run, 1)) != evaluations(bench.layers, name):
            raise RuntimeError(f"{name}: other layers were evaluated than counted")
    budgets = {name: _FEWER if name == "scalewise" else _FEW for name in whole}
    runs: dict[tuple[Any, int], Callable[[], None]] = {}
    runs |= {(name, n): partial(run, n) for name, run in whole.items() for n in budgets[name]}
    runs |= {(layer, n): partial(run, n) for layer, run in alone.items() for n in _FEWER}
    times = interleaved(runs, device, rounds, _LIMIT)
    found: dict[Schedule, dict[str, float]] = {}
    for name in whole:
        line = Line.through({n: times[name, n] for n in budgets[name]})
        found[name] = {"seconds": line.at(STEPS), "per_step": line.slope}
        if len(budgets[name]) > 2:
            found[name]["fit_residual"] = line.residual
    lines = {layer: Line.through({n: times[layer, n] for n in _FEWER}) for layer in alone}
    every = range(sum(bench.layers))
    found["layerwise"] = {
        "seconds": float(np.interp(every, list(lines), [line.at(STEPS) for line in lines.values()]).sum()),
        "per_step": float(np.interp(every, list(lines), [line.slope for line in lines.values()]).sum()),
        "layers_timed": len(lines),
    }
    found["layerwise"] |= {f"per_step_of_layer{layer + 1}": line.slope for layer, line in lines.items()}
    return found


def ratios(times: Mapping[Schedule, float], layers: Sequence[int]) -> dict[str, dict[str, float]]:
    """Measured and counted speed-ups of each pair of schedules."""
    found = {}
    for ours, theirs in PAIRS:
        measured = times[theirs] / times[ours]
        counted = evaluations(layers, theirs) / evaluations(layers, ours)
        found[f"{ours}_over_{theirs}"] = {
            "speedup": measured,
            "counted": counted,
            "measured_over_counted": measured / counted,
        }
    return found


def report(pair: str, row: Mapping[str, float]) -> str:
    """A line of the table, of what `ratios` gives for a pair."""
    return (
        f"  {pair:25} {row['speedup']:7.2f} x  counted {row['counted']:6.2f}  "
        f"measured/counted {row['measured_over_counted']:.2f}"
    )


def depth_of(speedup: float, depths: Sequence[int], measured: Sequence[float]) -> float:
    """Depth at which a speed-up is met: on the line between two depths, or beyond the last, up to twice that.

    NaN: at none.
    """
    for (low, first), (high, second) in pairwise(zip(depths, measured, strict=True)):
        position = (speedup - first) / (second - first) if second > first else -1.0
        depth = low + (high - low) * position
        if 0 <= position <= 1 or (position > 1 and high == depths[-1] and depth <= 2 * high):
            return depth
    return float("nan")


def part(device: torch.device, rounds: int, depths: Sequence[int], size: int) -> dict[str, Any]:
    """Time all schedules on narrow models of several depths, and print the tables."""
    results: dict[str, Any] = {"speedup": {}, "counted": {}, "measured_over_counted": {}, "schedules": {}}
    scales = size.bit_length()
    for layers in depths:
        times = time_schedules(untrained(narrow(layers, size), device), rounds)
        name, counts = f"M{layers}", [layers] * scales
        results["schedules"][name] = times
        click.echo(f"\nM = {layers}, L = {layers * scales}, {size}x{size}, 32 channels, batch 1, N = {STEPS}")
        for schedule, row in times.items():
            row["evaluations"] = STEPS * evaluations(counts, schedule)
            note = f"fit within {row['fit_residual']:.1%}" if "fit_residual" in row else ""
            if "layers_timed" in row:
                note = f"{row['layers_timed']:.0f} of {layers * scales} layers timed, others interpolated"
            click.echo(
                f"  {schedule:10} {row['seconds']:9.2f} s  {row['evaluations']:6.0f} layer evaluations  {note}"
            )
        for pair, row in ratios({k: v["seconds"] for k, v in times.items()}, counts).items():
            for key, value in row.items():
                results[key].setdefault(pair, {})[name] = value
            click.echo(report(pair, row))
    results["depth_of_35x"] = {}
    for pair, row in results["speedup"].items():
        depth = depth_of(PAPER_SPEEDUP, [scales * layers for layers in depths], list(row.values()))
        results["depth_of_35x"][pair] = depth
        if np.isfinite(depth):
            beyond = " (extrapolated)" if depth > scales * max(depths) else ""
            click.echo(
                f"{pair}: {PAPER_SPEEDUP:g}x is met at L = {depth:.0f}, M = {depth / scales:.1f}{beyond}"
            )
    return results
