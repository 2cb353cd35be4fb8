"""Parts of `refinement.py` on scans: NMSE of every schedule (a), and the time to a given NMSE (b)."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.shared.tasks import Measurement, Task, measurements
from benchmarks.speed.clock import Line, timed
from benchmarks.speed.gradient import ratios
from benchmarks.speed.ordinary import (
    ORDINARY,
    SCHEDULES,
    SEPARABLE,
    STEP_SIZE,
    Ladder,
    evaluations,
)
from mri_iahvae.inference.settings import InferenceSettings, inference_settings
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.volume import reconstruct_volume

PAPER_STEPS = 50
Key = TypeVar("Key", bound=Hashable)

Method = Callable[[Tensor, Tensor], Tensor]
"""k-space and mask, (B, N, N) each, to all bins."""


@dataclass(frozen=True)
class Measured:
    """What a method gave: mean NMSE, and the median over batches of the seconds per slice."""

    nmse: float
    seconds: float


def samples(data: Path, task: Task, count: int) -> list[Measurement]:
    """`count` single slices, spread evenly over the files of a folder, as a task measures them."""
    found = [
        one.part(slice(number, number + 1))
        for one in measurements(data, task)
        for number in range(len(one.kspace))
    ]
    return [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]


def ours(model: IAHVAE, settings: InferenceSettings) -> Method:
    """The package's reconstruction."""

    def run(kspace: Tensor, mask: Tensor) -> Tensor:
        arrays = (kspace.numpy(), mask.numpy())
        return torch.from_numpy(reconstruct_volume(model, *arrays, settings, batch=len(kspace)).kspace)

    return run


def theirs(model: IAHVAE, refined: Callable[[Ladder], Tensor], consistency: str) -> Method:
    """The ordinary HVAE; `refined` takes its ladder."""

    def run(kspace: Tensor, mask: Tensor) -> Tensor:
        device = model.gains.device
        grid, here = kspace.to(device), mask.to(device)
        factor = canonical_factor(grid, here, model.power)[:, None, None]
        bins = refined(Ladder.observe(model, grid / factor, here)) * factor
        return (bins if consistency == "none" else torch.where(here, grid, bins)).cpu()

    return run


def measure(
    model: IAHVAE, chosen: Sequence[Measurement], size: int, methods: Mapping[Key, Method]
) -> dict[Key, Measured]:
    """Run all methods in turn on each batch of `size` slices."""
    errors: dict[Key, list[float]] = {name: [] for name in methods}
    times: dict[Key, list[float]] = {name: [] for name in methods}
    for start in range(0, len(chosen), size):
        batch = chosen[start : start + size]
        kspace = torch.from_numpy(np.concatenate([one.kspace for one in batch]))
        mask = torch.from_numpy(np.stack([one.mask for one in batch]))
        for name, method in methods.items():
            bins, taken = timed(partial(method, kspace, mask), model.gains.device)
            images = ifft2c(bins).numpy()
            errors[name] += [
                one.scored(image[None])[0].nmse for one, image in zip(batch, images, strict=True)
            ]
            times[name].append(taken / len(batch))
    return {name: Measured(fmean(errors[name]), median(times[name])) for name in methods}


EVERYTHING = Task("everything measured", "none")


def schedules(model: IAHVAE, chosen: Sequence[Measurement], label: str, steps: int) -> dict[str, Any]:
    """NMSE, time and layer evaluations of every schedule, everything measured, and print them."""
    settings = partial(InferenceSettings, data_consistency="none")
    methods: dict[str, Method] = {
        "amortized": ours(model, settings("amortized")),
        "ordinary_amortized": theirs(model, partial(Ladder.refine, schedule="allatonce", steps=0), "none"),
        **{name: ours(model, settings("hybrid", steps, schedule=name)) for name in SEPARABLE},
        **{
            name: theirs(model, partial(Ladder.refine, schedule=name, steps=steps), "none")
            for name in ORDINARY
        },
    }
    found = measure(model, chosen, 1, methods)
    layers = [len(scale.latents) for scale in model.scales]
    click.echo(f"\n{label}, L = {sum(layers)}, {len(chosen)} slices, everything measured, N = {steps}")
    counts: dict[str, int] = {name: steps * evaluations(layers, name) for name in SCHEDULES}
    rows: dict[str, Any] = {"slices": len(chosen)}
    for name, row in found.items():
        rows[name] = {"nmse": row.nmse, "seconds": row.seconds, "evaluations": counts.get(name, 0)}
        click.echo(f"  {name:20} NMSE {row.nmse:.5f}  {row.seconds:8.3f} s/slice")
    results: dict[str, Any] = {"schedules": {label: rows}}
    times = {name: found[name].seconds for name in SCHEDULES}
    for pair, ratio in ratios(times, layers).items():
        for key, value in ratio.items():
            results.setdefault(key, {})[pair] = {label: value}
    return results


_ALONE: dict[str, Any] = {"joint_steps": 0}  # scale after scale, as `paper` goes
FAMILIES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "paper": ({"method": "paper"}, (5, 10, 25, PAPER_STEPS)),
    "hybrid lbfgs joint": (_ALONE, (0, 1, 2, 3, 5, 10, 25)),
    "hybrid lbfgs joint then all scales": ({}, (10,)),
    "hybrid adam joint": (_ALONE | {"optimizer": "adam"}, (2, 3, 5, 10, 25)),
    "hybrid lbfgs sequential": (_ALONE | {"schedule": "sequential"}, (2, 3, 5, 10)),
    "iterative lbfgs joint": (_ALONE | {"method": "iterative"}, (5, 10, 25)),
    "ordinary lbfgs allatonce": ({}, (0, 2, 3, 5, 10)),
}
"""Methods and their N, ascending; the third one at N = 10 is the package's default."""
DEFAULT = "hybrid lbfgs joint"
STEP_SIZES = (STEP_SIZE, STEP_SIZE / 10)
"""Of the ordinary HVAE's gradient descent: the paper's, and one that does not overshoot its coarse latents."""
_FEW = (1, 3)  # steps from which the time of the ordinary HVAE is computed


def tasks(size: int) -> dict[str, Task]:
    """The tasks on which time to quality is measured."""
    return {
        "everything": EVERYTHING,
        "columns4x": Task("random columns 4x / 0.08", "hard", columns=(4, 0.08, "random")),
        f"upto{size // 4}": Task(f"up to {size // 4}x{size // 4}", "hard", up_to=size // 4),
    }


def time_to_quality(model: IAHVAE, data: Path, count: int, size: int, task: Task) -> dict[str, Any]:
    """When each method reaches the NMSE of `paper` at N = 50, and how long the ordinary HVAE takes for the same.

    Args:
        model: the model.
        data: folder of scans.
        count: slices; the ordinary HVAE runs in full on the middle one alone.
        size: of batches.
        task: what is measured.
    """
    chosen = samples(data, task, count)
    methods = {
        (family, n): _method(model, family, n, task) for family, (_, ns) in FAMILIES.items() for n in ns
    }
    for n in _FEW:
        methods["ordinary paper", n] = theirs(model, partial(Ladder.paper, steps=n), task.consistency)
    first = {family: methods[family, ns[0]] for family, (_, ns) in FAMILIES.items()}
    measure(model, chosen[:1], 1, first)  # libraries load what they need
    found = measure(model, chosen, size, methods)
    goal = found["paper", PAPER_STEPS].nmse
    click.echo(f"\n{task.name}, {len(chosen)} slices: NMSE of paper N = {PAPER_STEPS} is {goal:.5f}")
    results: dict[str, Any] = {"target_nmse": goal, "slices": len(chosen)}
    for family, (_, budgets) in FAMILIES.items():
        curve = {n: found[family, n] for n in budgets}
        reached = next((n for n, row in curve.items() if row.nmse <= goal), None)
        taken = None if reached is None else curve[reached].seconds
        results[family.replace(" ", "_")] = {
            "reached_steps": reached,
            "reached_seconds": taken,
            **{f"N{n}": vars(row) for n, row in curve.items()},
        }
        click.echo(
            f"  {family}: " + ("not reached" if taken is None else f"N = {reached}, {taken:.3f} s/slice")
        )
    taken = Line.through({n: found["ordinary paper", n].seconds for n in _FEW}).at(PAPER_STEPS)
    results["ordinary_paper"] = {"seconds": taken}
    click.echo(f"  ordinary HVAE, layer by layer as the paper, N = {PAPER_STEPS}: {taken:.2f} s/slice")
    if (fastest := results[DEFAULT.replace(" ", "_")]["reached_seconds"]) is not None:
        results["speedup"] = taken / fastest
    rates = STEP_SIZES if task.consistency == "none" else STEP_SIZES[:1]
    alone = {
        f"step size {rate:g}": theirs(
            model, partial(Ladder.paper, steps=PAPER_STEPS, step_size=rate), task.consistency
        )
        for rate in rates
    }
    alone["separable"] = methods["paper", PAPER_STEPS]
    results["in_full"] = {}
    for name, row in measure(model, [chosen[len(chosen) // 2]], 1, alone).items():
        results["in_full"][name.replace(" ", "_").replace(".", "_")] = vars(row)
        click.echo(
            f"  N = {PAPER_STEPS} in full on one slice, {name}: NMSE {row.nmse:.5f} {row.seconds:.2f} s"
        )
    return results


def _method(model: IAHVAE, family: str, n: int, task: Task) -> Method:
    changes, _ = FAMILIES[family]
    if family.startswith("ordinary"):
        return theirs(model, partial(Ladder.refine, schedule="allatonce", steps=n), task.consistency)
    settings = {"method": "hybrid" if n else "amortized", "steps": n, "data_consistency": task.consistency}
    return ours(model, inference_settings(**(settings | changes)))
