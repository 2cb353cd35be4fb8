"""Which tools of hierarchical VAEs help: free bits, KL annealing, posteriors, spectral regularisation, temperature?

    python -m benchmarks.neighbours.hvae_tools mr_slices_train.npz mr_slices_val.npz \\
        --json benchmarks/neighbours/hvae_tools.json

One small model for each of `hvae_variants.VARIANTS`, with the same first weights, batches, noise and steps, on bands of
k-space. Both files hold `images`, uint8 (slices, n, n), magnitudes, which get a simulated smooth phase. Changes from
the plain model are paired over held-out slices; plus or minus is the standard error of the mean. With several seeds the
means of each are paired.

- -ELBO of posterior samples, and the KL divergence of each scale.
- Active units: fraction of latents whose posterior mean, in units of the prior, has a variance over slices above 0.01.
- NMSE of complex images by Algorithm 1: everything measured, denoising, and completion of the central 8 x 8 or
  16 x 16 bins.
- Temperature of the plain model: of the draws beyond the central 8 x 8 bins, and of prior samples.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.neighbours.common import (
    Batches,
    Plan,
    Task,
    cell,
    fit,
    measured_tasks,
    networks,
    one_by_one,
    read,
    row,
    score,
    summary,
    unseen,
)
from benchmarks.neighbours.hvae_temperature import by_temperature, temperature_lines
from benchmarks.neighbours.hvae_variants import ANNEALED, FLOOR, PENALTY, VARIANTS
from benchmarks.quality.table1 import active_units
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.joint import encode
from mri_iahvae.inference.refine import flat
from mri_iahvae.kspace.bands import block_mask, scales
from mri_iahvae.model.checkpoint import load_model, save_model
from mri_iahvae.model.checkpoint_config import read_config
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.statistics import measure

MEASURED = 512  # slices that gains are measured on
STEPS = 0, 10  # of refinement
BLOCKS = 8, 16  # measured alone


def train(variant: str, kspace: Tensor, grid: int, plan: Plan, seed: int = 0) -> IAHVAE:
    """A model of a variant; the seed decides first weights, batches and noise."""
    batches = Batches(kspace, grid, seed)
    torch.manual_seed(seed)
    model = IAHVAE(measure(batches.draw(MEASURED), networks(grid, plan.sigmas[1])))
    loss = VARIANTS[variant](model)
    fit(model, batches, plan, loss, f"{variant}, seed {seed}")
    return model


def trained(
    variant: str, kspace: Tensor, grid: int, plan: Plan, seed: int, folder: Path | None
) -> tuple[IAHVAE, float]:
    """The same, kept in a folder or taken from there, and the core seconds that it took."""
    if folder is not None and folder.is_dir():
        model, _ = load_model(folder)
        VARIANTS[variant](model)  # the layers that it has
        return model, read_config(folder)["training"]["seconds"]
    start = time.process_time()
    model = train(variant, kspace, grid, plan, seed)
    seconds = time.process_time() - start
    if folder is not None:
        save_model(model, folder, {"seconds": seconds})
    return model, seconds


def tasks(kspace: Tensor) -> dict[str, Task]:
    """Denoising, and completion of central blocks."""
    found = measured_tasks(kspace)
    for side in BLOCKS:
        mask = block_mask(side, kspace.shape[-1]).expand(kspace.shape)
        none = torch.zeros(len(kspace))
        found[f"up to {side}x{side}"] = Task(torch.where(mask, kspace, 0), mask, none, "hard")
    return found


def evaluate(model: IAHVAE, truth: Tensor) -> dict[str, Any]:
    """Scores of one model on canonical slices, each a list over slices or over scales."""
    passed = posterior_pass(model, truth, torch.Generator().manual_seed(2))
    means = encode(model, truth)[0]
    found: dict[str, Any] = {
        "negative_elbo": (passed.nats(model.sigma) / (2 * model.size**2)).tolist(),
        "kl": passed.kl.mean(1).tolist(),
        "active": [active_units(mean.flatten(1)) for mean in means],
        "active_units": active_units(flat(means)),
        "tasks": {},
    }
    for name, task in tasks(truth).items():
        for steps in STEPS if task.mask.all() else STEPS[:1]:
            found["tasks"][f"{name}, {steps} steps"] = score(one_by_one, model, task, truth, steps)
    return found


def table(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """What is stored of runs, one for each seed, by variant: means, and the changes from the plain model."""
    stored: dict[str, Any] = {}
    for name in runs[0]:
        many, plain = [run[name] for run in runs], [run["plain"] for run in runs]
        keys = list(many[0]["tasks"])
        elbo = paired([one["negative_elbo"] for one in many], [one["negative_elbo"] for one in plain])
        rows = {
            key: paired(
                [one["tasks"][key]["nmse"] for one in many], [one["tasks"][key]["nmse"] for one in plain]
            )
            | {"bounded": float(np.mean([one["tasks"][key]["bounded"] for one in many]))}
            for key in keys
        }
        stored[name] = {
            "negative_elbo": elbo,
            "kl": np.mean([one["kl"] for one in many], axis=0).tolist(),
            "active": np.mean([one["active"] for one in many], axis=0).tolist(),
            "active_units": float(np.mean([one["active_units"] for one in many])),
            "seconds": float(np.mean([one["seconds"] for one in many])),
            "tasks": rows,
        }
    return stored


def paired(values: list[list[float]], plain: list[list[float]]) -> dict[str, float]:
    """`summary` over the slices of one seed, or over the means of several."""
    if len(values) == 1:
        return summary(values[0], plain[0])
    return summary([float(np.mean(one)) for one in values], [float(np.mean(one)) for one in plain])


def lines(stored: dict[str, Any]) -> Iterator[str]:
    """The tables in Markdown."""
    variants = list(stored["variants"].values())
    sides = [str(side) for side in scales(stored["grid"])]
    yield row("", stored["variants"])
    yield row("---", ["---"] * len(variants))
    yield row("-ELBO, nats per dimension", (cell(one["negative_elbo"]) for one in variants))
    yield row("active units", (f"{one['active_units']:.1%}" for one in variants))
    for key in variants[0]["tasks"]:
        yield row(key, (cell(one["tasks"][key]) for one in variants))
    yield row("training, core minutes", (f"{one['seconds'] / 60:.1f}" for one in variants))
    for kind, form in (("kl", ".1f"), ("active", ".0%")):
        yield ""
        yield row(f"{kind} of scale", sides)
        yield row("---", ["---"] * len(sides))
        for name, one in stored["variants"].items():
            yield row(name, (format(value, form) for value in one[kind]))
    yield ""
    yield from temperature_lines(stored["temperature"], stored["grid"])


@click.command()
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--grid", default=64, show_default=True)
@click.option("--steps", default=400, show_default=True, help="Of training, for each variant.")
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=4e-3, show_default=True)
@click.option("--sigma", default=0.2, show_default=True, help="Of the likelihood, from half way on.")
@click.option("--slices", default=32, show_default=True, help="Held-out ones.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--variant", "chosen", multiple=True, help="Beside the plain one; by default all.")
@click.option("--weights", type=click.Path(path_type=Path), help="Folder: trained models, kept or taken.")
@options.output
def main(
    training: Path,
    held_out: Path,
    grid: int,
    steps: int,
    batch: int,
    rate: float,
    sigma: float,
    slices: int,
    seeds: int,
    chosen: tuple[str, ...],
    weights: Path | None,
    output: Path | None,
) -> None:
    """Train and score a hierarchy with each tool: slices of TRAINING, then of HELD_OUT, .npz files."""
    plan = Plan(steps, batch, rate, (Plan.sigmas[0], sigma))
    truth, kspace = unseen(held_out, grid, slices), read(training, grid)
    runs: list[dict[str, dict[str, Any]]] = []
    temperature: dict[str, Any] = {}
    for seed in range(seeds):
        runs.append({})
        for variant in (name for name in VARIANTS if not chosen or name in ("plain", *chosen)):
            folder = None if weights is None else weights / f"{variant.replace(' ', '_')}_{seed}"
            model, seconds = trained(variant, kspace, grid, plan, seed, folder)
            runs[-1][variant] = evaluate(model, truth) | {"seconds": seconds}
            if variant == "plain" and not seed:
                temperature = by_temperature(model, truth)
    stored = {
        "grid": grid,
        "plan": asdict(plan),
        "slices": slices,
        "seeds": seeds,
        "floor": FLOOR,
        "annealed": ANNEALED,
        "penalty": PENALTY,
        "torch": str(torch.__version__),
        "variants": table(runs),
        "temperature": temperature,
    }
    click.echo("\n".join(lines(stored)))
    if output is not None:
        write_json(output, stored)


if __name__ == "__main__":
    main()
