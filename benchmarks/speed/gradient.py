"""Part a of `refinement.py`: the cost of refinement against depth, separable against the ordinary HVAE's gradient."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import click
import numpy as np
import torch

from benchmarks.speed.clock import Line, counted_evaluations, interleaved, random_kspace, untrained
from benchmarks.speed.ordinary import (
    ORDINARY,
    SEPARABLE,
    Block,
    Ladder,
    Ordinary,
    Schedule,
    Separable,
    blocks,
    evaluations,
)
from mri_iahvae.inference.infer import Problem
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE

STEPS = 25
_FEW = (1, 3)  # steps that are timed: time is linear in them
_LIMIT = 60.0  # seconds after which a model's schedules take no further turn

Run = Callable[[int], None]
"""Refines by so many steps."""


def narrow(layers: int, size: int) -> ModelConfig:
    """M layers of 32 channels (16 inside) at every scale, every scale at its own resolution."""
    return ModelConfig(tuple(ScaleConfig(layers, 32, 16) for _ in range(size.bit_length())))


class Bench:
    """One slice of random bins, refined from random latents on an untrained model: only the time counts."""

    def __init__(self, model: IAHVAE) -> None:
        kspace = random_kspace(model, 1)
        self.ladder = Ladder.observe(model, kspace, torch.ones_like(kspace, dtype=torch.bool))
        noise = torch.Generator().manual_seed(1)
        shapes = [latent.shape for scale in model.scales for latent in scale.latents]
        self.start = [0.5 * torch.randn(1, *shape, generator=noise).to(kspace.device) for shape in shapes]
        self.deviation = [torch.ones_like(e) for e in self.start]
        with torch.no_grad():
            self.places = [self.ladder.origin()]
            for latent in self.start:
                self.places.append(self.ladder.descend(self.places[-1], [latent])[1])

    def problem(self, first: int) -> Problem:
        """The package's problem of the scale that begins with layer `first`."""
        place, model = self.places[first], self.ladder.model
        scale, features = model.scales[place.index], self.ladder.features[place.index]
        return Problem(
            scale,
            place.h,
            self.ladder.data[place.index],
            [torch.zeros_like(e) for e in self.start[first:][: len(scale.latents)]],
            model.sigma**2,
            torch.ones(1, device=place.h.device),
            lambda: (features, scale.encode(place.h, features)),
        )

    def separable(self, schedule: Separable) -> Run:
        """The package's refinement, scale by scale."""
        scales = [
            (self.problem(first), self.start[first:stop], self.deviation[first:stop])
            for first, stop, _ in blocks(self.ladder.layers, "joint")
        ]

        @torch.no_grad()
        def run(steps: int) -> None:
            for problem, start, deviation in scales:
                refine(problem, start, deviation, InferenceSettings("hybrid", steps, schedule=schedule))

        return run

    def ordinary(self, schedule: Ordinary) -> Run:
        """The ordinary gradient, block by block."""
        turns = [self.block(block) for block in blocks(self.ladder.layers, schedule)]

        def run(steps: int) -> None:
            for turn in turns:
                turn(steps)

        return run

    def layers_alone(self) -> dict[int, Run]:
        """The first and the last layer of each scale, of schedule "layerwise"; time is linear between them."""
        chosen = blocks(self.ladder.layers, "layerwise")
        ends = np.cumsum(self.ladder.layers).tolist()
        return {layer: self.block(chosen[layer]) for layer in sorted({0, *ends[:-1], *(e - 1 for e in ends)})}

    def block(self, block: Block) -> Run:
        """The ordinary gradient, and the step to the next block."""
        place, moving = self.places[block.first], block.stop - block.first
        start, deviation = self.start[block.first :], self.deviation[block.first :]

        @torch.no_grad()
        def run(steps: int) -> None:
            self.ladder.descend(place, self.ladder.minimise(place, start, deviation, moving, steps))

        return run


def time_schedules(model: IAHVAE, rounds: int) -> dict[Schedule, float]:
    """Seconds of each schedule at N = 25, from the line through a few steps."""
    bench = Bench(model)
    whole: dict[Any, Run] = {name: bench.separable(name) for name in SEPARABLE}
    whole |= {name: bench.ordinary(name) for name in ORDINARY if name != "layerwise"}
    for name, run in whole.items():
        if counted_evaluations(partial(run, 1)) != evaluations(bench.ladder.layers, name):
            raise RuntimeError(f"{name}: other layers were evaluated than counted")
    alone = bench.layers_alone()
    runs = {(key, n): partial(run, n) for key, run in (whole | alone).items() for n in _FEW}
    times = interleaved(runs, model.gains.device, rounds, _LIMIT)
    taken = {key: Line.through({n: times[key, n] for n in _FEW}).at(STEPS) for key in whole | alone}
    found: dict[Schedule, float] = {name: taken[name] for name in whole}
    every = range(sum(bench.ladder.layers))
    found["layerwise"] = float(np.interp(every, list(alone), [taken[layer] for layer in alone]).sum())
    return found


def ratios(times: Mapping[Schedule, float], layers: Sequence[int]) -> dict[str, dict[str, float]]:
    """Speed-ups of each pair of schedules, measured, and as the counted layer evaluations predict; printed, too."""
    found = {}
    for ours, theirs in product(SEPARABLE, ORDINARY):
        counted = evaluations(layers, theirs) / evaluations(layers, ours)
        found[f"{ours}_over_{theirs}"] = {"speedup": times[theirs] / times[ours], "counted": counted}
        click.echo(f"  {ours} over {theirs}: {times[theirs] / times[ours]:.2f} x, counted {counted:.2f}")
    return found


def part(device: torch.device, rounds: int, depths: Sequence[int], size: int) -> dict[str, Any]:
    """Time all schedules on narrow models of several depths, and print the tables."""
    results: dict[str, Any] = {"speedup": {}, "counted": {}, "schedules": {}}
    for layers in depths:
        name, counts = f"M{layers}", [layers] * size.bit_length()
        times = time_schedules(untrained(narrow(layers, size), device), rounds)
        click.echo(f"\nM = {layers}, L = {sum(counts)}, {size}x{size}, 32 channels, batch 1, N = {STEPS}")
        results["schedules"][name] = {
            schedule: {"seconds": seconds, "evaluations": STEPS * evaluations(counts, schedule)}
            for schedule, seconds in times.items()
        }
        for schedule, seconds in times.items():
            click.echo(f"  {schedule:10} {seconds:9.2f} s")
        for pair, row in ratios(times, counts).items():
            for key, value in row.items():
                results[key].setdefault(pair, {})[name] = value
    return results
