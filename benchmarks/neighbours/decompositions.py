"""Which linear decomposition shall the hierarchy have: bands of k-space, wavelets, block DCT, or learned rotations?

    python -m benchmarks.neighbours.decompositions mr_slices_train.npz mr_slices_val.npz \\
        --json benchmarks/neighbours/decompositions.json

One small model for each, of the same networks and weights to start from, trained by the negative ELBO alone on the same
batches. Both files hold `images`, uint8 (slices, n, n), magnitudes, which get a simulated smooth phase. NMSE is that of
complex images, mean over held-out slices; its change from the bands of k-space has the standard error of the mean over
slices. Time is of one core, so that other work on the machine does not count.

- Everything measured and denoising: Algorithm 1, hybrid, scale by scale.
- Random columns 4x: all scales together (`inference.joint`); bands of k-space also scale by scale.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.neighbours.common import (
    Batches,
    Engine,
    Plan,
    Task,
    cell,
    fit,
    measured_tasks,
    networks,
    one_by_one,
    read,
    relative_error,
    row,
    score,
    summary,
    unseen,
)
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.joint import infer_jointly
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.block_dct import BlockDCT
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.wavelets import Wavelets
from mri_iahvae.model.checkpoint import load_model, save_model
from mri_iahvae.model.config import DecompositionName, ModelConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.rotations import code_length, learn_rotations
from mri_iahvae.training.statistics import measure

NAMES: tuple[DecompositionName, ...] = get_args(DecompositionName)
MEASURED = 512  # slices that gains are measured on, and rotations learned
SIGMA = Plan.sigmas[1]
ROUNDS = 150  # steps of the rotations
COLUMNS = 4, 0.08  # acceleration, fraction of the centre
ALGORITHM_1, JOINT = "scale by scale", "all scales together"
STEPS = {ALGORITHM_1: (0, 10), JOINT: (10, 30)}  # of refinement


def train(config: ModelConfig, kspace: Tensor, steps: int) -> IAHVAE:
    """A model trained on k-space (slices, N, N); what is drawn is the same for every decomposition."""
    batches = Batches(kspace, config.size)
    torch.manual_seed(0)
    seen = batches.draw(MEASURED)
    if config.decomposition == "rotations":
        config = replace(config, angles=learn_rotations(seen, config.sigma, ROUNDS))
    model = IAHVAE(measure(seen, config))
    fit(model, batches, Plan(steps), title=config.decomposition)
    return model


def code_lengths(kspace: Tensor) -> dict[str, float]:
    """Of canonical slices, by other wavelets and blocks, nats per real dimension (`training.rotations.code_length`)."""
    size = kspace.shape[-1]
    others = {name: Wavelets(size, name) for name in ("haar", "db2", "sym4", "sym8")}
    blocks = {f"DCT of {side} pixels": BlockDCT(size, side) for side in (4, 8, 16, size)}
    return {name: code_length(one, kspace, SIGMA) for name, one in {**others, **blocks}.items()}


def tasks(kspace: Tensor) -> dict[str, Task]:
    """The tasks on canonical, fully sampled k-space."""
    count, size = kspace.shape[:2]
    columns = np.stack([column_mask(size, *COLUMNS, "random", str(number)) for number in range(count)])
    mask = torch.from_numpy(columns)[:, None, :].expand(kspace.shape)
    under = Task(torch.where(mask, kspace, 0), mask, torch.zeros(count), "hard")
    return {**measured_tasks(kspace), "random columns 4x": under}


def together(model: IAHVAE, task: Task, settings: InferenceSettings) -> tuple[Tensor, float]:
    """The same, all scales at once, for which there are no bounds."""
    return infer_jointly(model, *task[:3], settings)[0], 0.0


ENGINES: dict[str, Engine] = {ALGORITHM_1: one_by_one, JOINT: together}


def as_measured(truth: Tensor) -> dict[str, float]:
    """Mean NMSE of noisy and zero-filled k-space, by task."""
    return {name: float(relative_error(task.kspace, truth).mean()) for name, task in tasks(truth).items()}


def evaluate(model: IAHVAE, truth: Tensor) -> dict[str, Any]:
    """Scores of one model: -ELBO and code length, and of each task, engine and number of steps NMSE and time."""
    coefficients = model.decomposition.from_kspace(truth)
    passed = posterior_pass(model, coefficients, torch.Generator().manual_seed(2))
    rows: dict[str, Any] = {}
    for name, task in tasks(truth).items():
        usable = {ALGORITHM_1: model.decomposition.separates(task.mask), JOINT: not task.mask.all()}
        for engine in (engine for engine, use in usable.items() if use):
            for steps in STEPS[engine]:
                rows[f"{name}, {engine}, {steps} steps"] = score(ENGINES[engine], model, task, truth, steps)
    return {
        "parameters": sum(p.numel() for p in model.parameters()) + len(model.config.angles),
        "code_length": code_length(model.decomposition, truth, model.sigma),
        "negative_elbo": (passed.nats(model.sigma) / (2 * model.size**2)).tolist(),
        "rate": float(passed.kl.sum(0).mean()) / (2 * model.size**2),
        "tasks": rows,
    }


def at_best_sigma(negative_elbo: float, rate: float, sigma: float) -> float:
    """-ELBO per dimension with the deviation that suits the errors of posterior samples, in place of sigma.

    A likelihood that is narrower than the errors of a model that has not learned enough is mostly a measure of these.
    """
    squared_error = 2 * sigma**2 * (negative_elbo - rate - 0.5 * math.log(2 * math.pi * sigma**2))
    return rate + 0.5 * math.log(2 * math.pi * math.e * squared_error)


def table(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is stored: means over slices, compared with the first decomposition, task by task."""
    first = next(iter(found.values()))
    base = {key: row["nmse"] for key, row in first["tasks"].items()}
    stored: dict[str, Any] = {}
    for name, one in found.items():
        rows = {
            key: {**summary(row["nmse"], base[key]), "seconds": row["seconds"], "bounded": row["bounded"]}
            for key, row in one["tasks"].items()
        }
        elbo = summary(one["negative_elbo"], first["negative_elbo"])
        best = at_best_sigma(elbo["mean"], one["rate"], SIGMA)
        stored[name] = one | {"negative_elbo": elbo, "at_best_sigma": best, "tasks": rows}
    return stored


def lines(stored: dict[str, Any]) -> Iterator[str]:
    """The table in Markdown: NMSE, its change and the standard error of that, time, and slices out of bounds."""

    models = list(stored.values())
    yield row("", stored)
    yield row("---", ["---"] * len(stored))
    yield row("parameters", (f"{one['parameters']:,}" for one in models))
    yield row("code length, nats per dimension", (f"{one['code_length']:.4f}" for one in models))
    yield row("-ELBO, nats per dimension", (cell(one["negative_elbo"]) for one in models))
    yield row("of it KL", (f"{one['rate']:.4f}" for one in models))
    yield row("-ELBO at the best sigma", (f"{one['at_best_sigma']:.4f}" for one in models))
    for key in models[0]["tasks"]:
        yield row(key, (cell(one["tasks"].get(key)) for one in models))


@click.command()
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--grid", default=32, show_default=True)
@click.option("--steps", default=400, show_default=True, help="Of training, for each decomposition.")
@click.option("--slices", default=32, show_default=True, help="Held-out ones.")
@click.option(
    "--weights", type=click.Path(file_okay=False, path_type=Path), help="Trained models, kept or taken."
)
@options.output
def main(
    training: Path,
    held_out: Path,
    grid: int,
    steps: int,
    slices: int,
    weights: Path | None,
    output: Path | None,
) -> None:
    """Train and score a hierarchy on each decomposition: slices of TRAINING, then of HELD_OUT, .npz files."""
    truth = unseen(held_out, grid, slices)
    kspace: Tensor | None = None
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        folder = None if weights is None else weights / name
        if folder is not None and folder.is_dir():
            model, _ = load_model(folder)
        else:
            kspace = read(training, grid) if kspace is None else kspace
            model = train(replace(networks(grid), decomposition=name), kspace, steps)
            if folder is not None:
                save_model(model, folder, {"steps": steps})
        found[name] = evaluate(model, truth)
    click.echo("\n".join(lines(table(found))))
    if output is not None:
        facts = {
            "grid": grid,
            "steps": steps,
            "batch": Plan.batch,
            "slices": slices,
            "torch": str(torch.__version__),
        }
        without = {"code_lengths": code_lengths(truth), "as_measured": as_measured(truth)}
        write_json(output, facts | without | {"decompositions": table(found)})


if __name__ == "__main__":
    main()
