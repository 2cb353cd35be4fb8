"""Does refinement inside training help, at equal time: refined latents as a target of the encoder, or the ELBO at them?

    python -m benchmarks.neighbours.refined_training mr_slices_train.npz mr_slices_val.npz --weights FOLDER \\
        --json benchmarks/neighbours/refined_training.json

All start from the plain model of `hvae_tools` in FOLDER, and train for equal core seconds at its last sigma:

| training | loss |
| --- | --- |
| plain | negative ELBO |
| target | the same, and the squared distance of posterior means from refined latents, in units of the posterior |
| ELBO at refined | mean of the negative ELBO, and of that of the posterior moved to the refined latents |

Refinement is that of the package, a few steps of L-BFGS on the posterior mean with everything measured. The gap is the
-ELBO of the encoder's posterior less that of the posterior moved to the refined latents, contexts seeing the true
coarser bins, with the same noise.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click
import torch
from torch import Tensor

from benchmarks.neighbours.common import (
    Batches,
    Loss,
    Plan,
    Step,
    cell,
    fit,
    measured_tasks,
    negative_elbo,
    one_by_one,
    read,
    row,
    score,
    summary,
    unseen,
)
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import Inference, infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.gaussian import whitened_kl
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.protocols import Latents
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.objective import PosteriorPass, squared_error

if TYPE_CHECKING:
    from mri_iahvae.model.scale import BandScale

INSIDE = 3  # steps of refinement in training
STEPS = 3, 10  # after it
TIMED = 5  # steps that tell how many fit into the time
WEIGHT = 1.0  # of the target


class Moved(NamedTuple):
    """What a posterior gives that was moved."""

    passed: PosteriorPass
    distance: Tensor
    """Sum over latents of ((mean - moved to) / (deviation))^2 / 2, of the encoder's mean and deviation; float (B,)."""


def moved_pass(
    model: IAHVAE, kspace: Tensor, latents: Sequence[Latents] | None, noise: torch.Generator
) -> Moved:
    """Decode samples of the encoder's posterior, its means moved to whitened latents; by default they stay.

    Contexts see the true coarser bins. Of `distance` only the encoder has gradients, and of the posterior's deviation
    nothing has.

    Args:
        model: the model, on bands of k-space.
        kspace: complex64 (B, N, N), canonical.
        latents: of each layer of each scale, (B, latent, r, r).
        noise: draws the samples.
    """
    walk, bins = Walk(model, len(kspace), kspace.device), kspace[:, :0, :0]
    session = model.encoder.begin(kspace, torch.ones_like(kspace, dtype=torch.bool))
    errors, rates, distance = [], [], torch.zeros(len(kspace))
    for scale, start in walk:
        h, block = start, model.decomposition.block(kspace, scale.index)
        features = session.features(scale, block)
        rate = torch.zeros(len(kspace))
        for number, layer in enumerate(cast("BandScale", scale).ladder()):
            prior, residual = layer.prior(h)
            mean, log_std = layer.posterior(h.detach(), features)
            log_std = log_std.detach()
            e = mean if latents is None else latents[scale.index][number]
            distance = distance + (((mean - e) / log_std.exp()) ** 2 / 2).flatten(1).sum(1)
            rate = rate + whitened_kl(e, log_std)
            sample = e + log_std.exp() * torch.randn(e.shape, generator=noise)
            h = layer.advance(h, residual, prior.at(sample))
        part, target = scale.bins(h), block * model.decomposition.ring(scale.index, kspace.device)
        errors.append(squared_error(part, target))
        rates.append(rate)
        bins = model.decomposition.extend(bins, part, scale.index)
        walk.extend(h, target)
        session.extend(scale, block)
    return Moved(PosteriorPass(torch.stack(errors), torch.stack(rates), bins), distance)


def refined(model: IAHVAE, kspace: Tensor, steps: int) -> Inference:
    """Algorithm 1 on fully sampled, canonical k-space, hybrid; 0 steps: amortized."""
    settings = InferenceSettings("hybrid" if steps else "amortized", steps, precision="float32")
    mask = torch.ones_like(kspace, dtype=torch.bool)
    measured = Measurement.of(kspace, mask, torch.zeros(len(kspace)), model.decomposition)
    elements = tuple(Element(number) for number in range(len(kspace)))
    return infer(model, measured, settings, Draws(0, 1.0, elements, kspace.device))


def target(step: Step) -> Tensor:
    """Negative ELBO, and the distance of the encoder's means from refined latents, nats per dimension.

    Slices of which a scale was out of bounds have no target.
    """
    found = refined(step.model, step.coefficients, INSIDE)
    distance = moved_pass(step.model, step.coefficients, found.latents, step.noise).distance
    return negative_elbo(step) + WEIGHT * (distance * ~found.bounded).mean() / (2 * step.model.size**2)


def elbo_at_refined(step: Step) -> Tensor:
    """Mean of the negative ELBO of the encoder's posterior, and of that moved to refined latents."""
    found = refined(step.model, step.coefficients, INSIDE)
    moved = moved_pass(step.model, step.coefficients, found.latents, step.noise).passed
    return (negative_elbo(step) + moved.negative_elbo(step.sigma)) / 2


LOSSES: dict[str, Loss] = {"plain": negative_elbo, "target": target, "ELBO at refined": elbo_at_refined}


def gaps(model: IAHVAE, kspace: Tensor) -> dict[str, Any]:
    """-ELBO per dimension of each slice, amortized and at refined latents, and the distances of these."""
    found: dict[str, Any] = {}
    for steps in (0, *STEPS):
        latents = refined(model, kspace, steps).latents if steps else None
        moved = moved_pass(model, kspace, latents, torch.Generator().manual_seed(2))
        found[str(steps)] = {
            "negative_elbo": (moved.passed.nats(model.sigma) / (2 * model.size**2)).tolist(),
            "distance": float(moved.distance.mean()) / (2 * model.size**2),
        }
    return found


def evaluate(model: IAHVAE, truth: Tensor) -> dict[str, Any]:
    """Scores of one model on canonical slices."""
    rows = {
        f"{name}, {steps} steps": score(one_by_one, model, task, truth, steps)
        for name, task in measured_tasks(truth).items()
        for steps in (0, *STEPS)
    }
    return {"elbos": gaps(model, truth), "tasks": rows}


def train(name: str, folder: Path, kspace: Tensor, seconds: float, plan: Plan) -> tuple[IAHVAE, int]:
    """A model that started from a stored one and was trained for so many core seconds, and the steps that it took.

    A few steps of a copy tell how many fit.
    """

    def run(steps: int) -> tuple[IAHVAE, float]:
        model, _ = load_model(folder)
        start = time.process_time()
        fit(model, Batches(kspace, model.size, seed=1), replace(plan, steps=steps), LOSSES[name], name)
        return model, time.process_time() - start

    run(1)  # first calls are slow
    steps = max(1, round(seconds * TIMED / run(TIMED)[1]))
    return run(steps)[0], steps


def table(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is stored, by training: means, their changes from plain training, and the gaps."""
    plain = found["plain"]
    stored: dict[str, Any] = {}
    for name, one in found.items():
        amortized = one["elbos"]["0"]["negative_elbo"]
        elbos = {
            steps: {
                **summary(values["negative_elbo"], plain["elbos"][steps]["negative_elbo"]),
                "gap": summary(amortized, values["negative_elbo"]) | {"mean": 0.0},
                "distance": values["distance"],
            }
            for steps, values in one["elbos"].items()
        }
        rows = {
            key: summary(values["nmse"], plain["tasks"][key]["nmse"]) | {"bounded": values["bounded"]}
            for key, values in one["tasks"].items()
        }
        stored[name] = one | {"elbos": elbos, "tasks": rows}
    return stored


def lines(stored: dict[str, Any]) -> Iterator[str]:
    """The table in Markdown."""
    many = list(stored.values())
    yield row("", stored)
    yield row("---", ["---"] * len(many))
    yield row("steps of training", (f"{one['steps']}" for one in many))
    for steps in many[0]["elbos"]:
        yield row(f"-ELBO, {steps} steps", (cell(one["elbos"][steps]) for one in many))
    for steps in map(str, STEPS):
        of = [one["elbos"][steps]["gap"] for one in many]
        yield row(
            f"gap to {steps} steps", (f"{gap['change']:.4f} ± {gap['standard_error']:.4f}" for gap in of)
        )
        yield row(f"distance to {steps} steps", (f"{one['elbos'][steps]['distance']:.4f}" for one in many))
    for key in many[0]["tasks"]:
        yield row(key, (cell(one["tasks"][key]) for one in many))


@click.command()
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--weights", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--seconds", default=150.0, show_default=True, help="Of one core, for each training.")
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=1e-3, show_default=True)
@click.option("--slices", default=32, show_default=True, help="Held-out ones.")
@options.output
def main(
    training: Path,
    held_out: Path,
    weights: Path,
    seconds: float,
    batch: int,
    rate: float,
    slices: int,
    output: Path | None,
) -> None:
    """Train on slices of TRAINING with and without refinement, score on those of HELD_OUT, .npz files."""
    folder = weights / "plain_0"
    before, _ = load_model(folder)
    plan = Plan(1, batch, rate, (before.sigma, before.sigma))
    truth, kspace = unseen(held_out, before.size, slices), read(training, before.size)
    found = {"before": evaluate(before, truth) | {"steps": 0}}
    for name in LOSSES:
        model, steps = train(name, folder, kspace, seconds, plan)
        found[name] = evaluate(model, truth) | {"steps": steps}
    stored = table(found)
    click.echo("\n".join(lines(stored)))
    if output is not None:
        facts = {
            "grid": before.size,
            "seconds": seconds,
            "inside": INSIDE,
            "weight": WEIGHT,
            "slices": slices,
        }
        write_json(
            output, facts | {"plan": asdict(plan), "torch": str(torch.__version__), "trainings": stored}
        )


if __name__ == "__main__":
    main()
