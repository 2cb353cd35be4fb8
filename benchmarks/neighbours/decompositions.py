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
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.joint import infer_jointly
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import DataConsistency, InferenceSettings, Method
from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.block_dct import BlockDCT
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.kspace.wavelets import Wavelets
from mri_iahvae.model.checkpoint import load_model, save_model
from mri_iahvae.model.config import DecompositionName, ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.augment import augment
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.rotations import code_length, learn_rotations
from mri_iahvae.training.statistics import canonical_batch, measure

NAMES: tuple[DecompositionName, ...] = get_args(DecompositionName)
BATCH, RATE, CLIP = 16, 4e-3, 1.0
SIGMAS = 0.6, 0.1  # of the likelihood: first step, and from half of the steps on
MEASURED = 512  # slices that gains are measured on, and rotations learned
ROUNDS = 150  # steps of the rotations
COLUMNS = 4, 0.08  # acceleration, fraction of the centre
ALGORITHM_1, JOINT = "scale by scale", "all scales together"
STEPS = {ALGORITHM_1: (0, 10), JOINT: (10, 30)}  # of refinement


def networks(grid: int) -> ModelConfig:
    """One layer per scale, on maps of at most 8 x 8; 16 channels, and where pixels are folded 16 times the fold."""
    folds = [max(1, 2**k // 8) for k in range(grid.bit_length())]
    scales = tuple(ScaleConfig(layers=1, channels=16 * fold, inner=8 * fold, patch=fold) for fold in folds)
    return ModelConfig(scales, encoder_blocks=1, head_blocks=1, sigma=SIGMAS[1])


def read(path: Path, grid: int, count: int | None = None) -> Tensor:
    """Centred k-space of all slices of a file, or so many spread over it, complex64 (slices, grid, grid)."""
    with np.load(path) as file:
        images = torch.from_numpy(file["images"])
    if count is not None:
        images = images[torch.linspace(0, len(images) - 1, count).long()]
    return torch.cat([crop(fft2c(part + 0j), grid) for part in images.float().split(256)])


def train(config: ModelConfig, kspace: Tensor, steps: int) -> IAHVAE:
    """A model trained on k-space (slices, N, N); what is drawn is the same for every decomposition."""
    noise, size = torch.Generator().manual_seed(0), config.size

    def drawn(count: int) -> Tensor:
        return canonical_batch(
            augment(kspace[torch.randint(len(kspace), (count,), generator=noise)], noise), size
        )

    torch.manual_seed(0)
    seen = drawn(MEASURED)
    if config.decomposition == "rotations":
        config = replace(config, angles=learn_rotations(seen, config.sigma, ROUNDS))
    model = IAHVAE(measure(seen, config))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    first, last = SIGMAS
    for step in range(steps):
        coefficients = model.decomposition.from_kspace(drawn(BATCH))
        teacher, means = (torch.rand(BATCH, generator=noise) < fraction for fraction in (0.5, 0.25))
        sigma = first * (last / first) ** min(1.0, 2 * step / steps)
        loss = posterior_pass(model, coefficients, noise, teacher, means).negative_elbo(sigma)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            click.echo(f"{config.decomposition:10} step {step:5}  -ELBO at sigma {sigma:.3f}: {loss:.4f}")
    return model.eval().requires_grad_(requires_grad=False)


def unseen(path: Path, grid: int, count: int) -> Tensor:
    """Canonical k-space of slices with a simulated phase, complex64 (slices, N, N)."""
    kspace = read(path, grid, count)
    phase = smooth_phase(count, (grid, grid), torch.Generator().manual_seed(0), strength=0.5)
    return canonical_batch(fft2c(ifft2c(kspace) * torch.polar(torch.ones_like(phase), phase)), grid)


def code_lengths(kspace: Tensor) -> dict[str, float]:
    """Of canonical slices, by other wavelets and blocks, nats per real dimension (`training.rotations.code_length`)."""
    size = kspace.shape[-1]
    others = {name: Wavelets(size, name) for name in ("haar", "db2", "sym4", "sym8")}
    blocks = {f"DCT of {side} pixels": BlockDCT(size, side) for side in (4, 8, 16, size)}
    return {name: code_length(one, kspace, SIGMAS[1]) for name, one in {**others, **blocks}.items()}


class Task(NamedTuple):
    """A measurement of held-out slices, and how it is inferred."""

    kspace: Tensor
    """complex64 (slices, N, N), canonical, zero where not measured."""
    mask: Tensor
    """bool (slices, N, N)."""
    sigma: Tensor
    """float (slices,), noise per part."""
    consistency: DataConsistency


def tasks(kspace: Tensor) -> dict[str, Task]:
    """The tasks on canonical, fully sampled k-space."""
    count, size = kspace.shape[:2]
    everything = torch.ones(kspace.shape, dtype=torch.bool)
    found = {"everything measured": Task(kspace, everything, torch.zeros(count), "none")}
    for ratio in (0.1, 0.2, 1.0):
        sigma = ratio * rms(kspace)
        noise = complex_noise(tuple(kspace.shape), sigma[:, None, None], torch.Generator().manual_seed(1))
        found[f"denoise {ratio}"] = Task(kspace + noise, everything, sigma, "soft")
    columns = np.stack([column_mask(size, *COLUMNS, "random", str(number)) for number in range(count)])
    mask = torch.from_numpy(columns)[:, None, :].expand(kspace.shape)
    found["random columns 4x"] = Task(torch.where(mask, kspace, 0), mask, torch.zeros(count), "hard")
    return found


def one_by_one(model: IAHVAE, task: Task, settings: InferenceSettings) -> tuple[Tensor, float]:
    """k-space that Algorithm 1 infers, complex64 (slices, N, N), and the fraction of slices that were out of bounds.

    Where the decomposition separates the mask, which here are all or no coefficients, or bins.
    """
    decomposition = model.decomposition
    coefficients = decomposition.from_kspace(task.kspace)
    measured = Measurement.of(coefficients, task.mask, task.sigma, decomposition)
    elements = tuple(Element(number) for number in range(len(task.kspace)))
    found = infer(model, measured, settings, Draws(0, 1.0, elements, task.kspace.device))
    return decomposition.to_kspace(found.bins), float(found.bounded.float().mean())


def together(model: IAHVAE, task: Task, settings: InferenceSettings) -> tuple[Tensor, float]:
    """The same, all scales at once, for which there are no bounds."""
    return infer_jointly(model, *task[:3], settings)[0], 0.0


Engine = Callable[[IAHVAE, Task, InferenceSettings], tuple[Tensor, float]]
ENGINES: dict[str, Engine] = {ALGORITHM_1: one_by_one, JOINT: together}


def as_measured(truth: Tensor) -> dict[str, float]:
    """Mean NMSE of noisy and zero-filled k-space, by task."""
    return {name: float(relative_error(task.kspace, truth).mean()) for name, task in tasks(truth).items()}


def relative_error(found: Tensor, truth: Tensor) -> Tensor:
    """NMSE of each slice, complex (slices, N, N) twice to float64 (slices,)."""
    error = (found - truth).abs().double().square().sum(dim=(1, 2))
    return error / truth.abs().double().square().sum(dim=(1, 2))


def score(model: IAHVAE, engine: str, task: Task, truth: Tensor, steps: int) -> dict[str, Any]:
    """NMSE of each slice, seconds per slice, and the fraction of slices that were out of bounds."""
    method: Method = "hybrid" if steps else "amortized"
    settings = InferenceSettings(method, steps, precision="float32", data_consistency=task.consistency)
    start = time.process_time()
    found, bounded = ENGINES[engine](model, task, settings)
    seconds = (time.process_time() - start) / len(truth)
    return {"nmse": relative_error(found, truth).tolist(), "seconds": seconds, "bounded": bounded}


def evaluate(model: IAHVAE, truth: Tensor) -> dict[str, Any]:
    """Scores of one model: -ELBO and code length, and of each task, engine and number of steps NMSE and time."""
    coefficients = model.decomposition.from_kspace(truth)
    passed = posterior_pass(model, coefficients, torch.Generator().manual_seed(2))
    rows: dict[str, Any] = {}
    for name, task in tasks(truth).items():
        usable = {ALGORITHM_1: model.decomposition.separates(task.mask), JOINT: not task.mask.all()}
        for engine in (engine for engine, use in usable.items() if use):
            for steps in STEPS[engine]:
                rows[f"{name}, {engine}, {steps} steps"] = score(model, engine, task, truth, steps)
    return {
        "parameters": sum(p.numel() for p in model.parameters()) + len(model.config.angles),
        "code_length": code_length(model.decomposition, truth, model.sigma),
        "negative_elbo": (passed.nats(model.sigma) / (2 * model.size**2)).tolist(),
        "rate": float(passed.kl.sum(0).mean()) / (2 * model.size**2),
        "tasks": rows,
    }


def summary(values: list[float], baseline: list[float]) -> dict[str, float]:
    """Mean over slices, its change from the baseline, and the standard error of that change."""
    change = torch.tensor(values) - torch.tensor(baseline)
    error = float(change.std()) / math.sqrt(len(change))
    return {"mean": float(np.mean(values)), "change": float(change.mean()), "standard_error": error}


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
        best = at_best_sigma(elbo["mean"], one["rate"], SIGMAS[1])
        stored[name] = one | {"negative_elbo": elbo, "at_best_sigma": best, "tasks": rows}
    return stored


def lines(stored: dict[str, Any]) -> Iterator[str]:
    """The table in Markdown: NMSE, its change and the standard error of that, time, and slices out of bounds."""

    def cell(one: dict[str, float] | None) -> str:
        if one is None:
            return ""
        change = f" ({one['change']:+.4f} ± {one['standard_error']:.4f})" if one["change"] else ""
        spent = f", {1000 * one['seconds']:.1f} ms" if "seconds" in one else ""
        beyond = f", {one['bounded']:.0%} out of bounds" if one.get("bounded") else ""
        return f"{one['mean']:.4f}{change}{spent}{beyond}"

    def row(title: str, cells: Iterable[str]) -> str:
        return f"| {title} | {' | '.join(cells)} |"

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
            "batch": BATCH,
            "slices": slices,
            "torch": str(torch.__version__),
        }
        without = {"code_lengths": code_lengths(truth), "as_measured": as_measured(truth)}
        write_json(output, facts | without | {"decompositions": table(found)})


if __name__ == "__main__":
    main()
