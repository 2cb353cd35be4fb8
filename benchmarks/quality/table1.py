"""The paper's Table 1 on our data: amortized, iterative and hybrid inference at several numbers of steps.

    python -m benchmarks.quality.table1 data/reporting --json benchmarks/quality/table1.json

Every other slice of each file, the same weights for all. NMSE, PSNR, SSIM and time are those of `compare.py`; "paper"
is Algorithm 1 as printed (hybrid, plain gradient descent). The paper's methods infer scale after scale; the last row is
our default, which refines all scales together in the end where that can help. Beside them:

- NLL, nats per real dimension (2 N^2 of them): -log p(y | z) / (2 N^2) of the fully sampled k-space y, before the task
  took bins or added noise, given the latents that were inferred, under the model's own white Gaussian likelihood in
  canonical units. It is the distortion term alone: latents that were refined are a point, which has no KL. Bins that
  the task took count as well.
- -ELBO, nats per real dimension: distortion plus KL at one sample of the encoder's posterior, of fully sampled k-space:
  what bounds the true negative log-likelihood. It belongs to the encoder, so only amortized inference has one.
- Active units: fraction of all latents whose inferred value, in standard deviations of its prior, has a variance over
  the slices above 0.01 (Burda et al., 2016). Not counted for Algorithm 1 as printed, which does not hand out latents.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.methods import OURS, identity
from benchmarks.quality.rows import Results, fingerprint
from benchmarks.shared.tasks import TASKS, Measurement, measurements
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.training.objective import posterior_pass

CHOSEN = ("everything measured", "up to 8x8", "up to 32x32", "random columns 4x / 0.08", "denoise 1.0")
NAMES = ("amortized", *(f"{m} N={n}" for m in ("iterative", "hybrid", "paper") for n in (5, 10, 25, 50)))
METHODS = {
    **{name: replace(OURS[name], joint_steps=0) for name in NAMES},
    "hybrid N=10, all scales": OURS["hybrid N=10"],
}
ACTIVE = 0.01
"""Variance over the slices, in whitened units, above which a latent counts as active."""


@contextmanager
def inferred_latents(model: IAHVAE) -> Iterator[dict[int, list[Tensor]]]:
    """Whitened latents of each scale that the decoder was last run on, (B, latent, r, r) for each layer."""
    latents: dict[int, list[Tensor]] = {}
    descend = model.descend

    def record(index: int, h: Tensor, whitened: list[Tensor] | None = None, first: int = 0) -> Any:  # noqa: ANN401
        if whitened is not None and not torch.is_grad_enabled():
            latents[index] = whitened
        return descend(index, h, whitened, first)

    with patch.object(model, "descend", record):
        yield latents


def active_units(latents: Tensor) -> float:
    """Fraction of active latents; float (slices, latents), whitened."""
    return float((latents.var(dim=0) > ACTIVE).double().mean())


def negative_log_likelihood(bins: Tensor, truth: Tensor, sigma: float) -> Tensor:
    """-log p(y | z) per real dimension of each slice, nats: complex (B, N, N) twice, canonical, to float (B,)."""
    error = torch.view_as_real(bins - truth).double().square().mean(dim=(1, 2, 3))
    return error / (2 * sigma**2) + 0.5 * math.log(2 * math.pi * sigma**2)


def measure(model: IAHVAE, settings: InferenceSettings, measured: list[Measurement]) -> dict[str, float]:
    """The scores of one method on one task, means over slices."""
    seconds, scores, nlls, elbos, latents = 0.0, [], [], [], []
    task = measured[0].task
    own, shown = (replace(settings, data_consistency=kind) for kind in ("none", task.consistency))
    reconstruct_volume(model, measured[0].kspace[:1], measured[0].mask, own)  # first calls are slow
    for one in measured:
        start = time.process_time()
        with inferred_latents(model) as found:
            result = reconstruct_volume(
                model, one.kspace, one.mask, own, noise_sigma=one.sigma, batch=len(one.kspace)
            )
        seconds += time.process_time() - start
        factor = torch.from_numpy(result.factors)[:, None, None]
        bins, truth = (torch.from_numpy(k) / factor for k in (result.kspace, one.full))
        nlls += negative_log_likelihood(bins, truth, model.config.sigma).tolist()
        if task.consistency != "none":  # the model's own bins are what is likely, others are what is returned
            result = reconstruct_volume(model, one.kspace, one.mask, shown, noise_sigma=one.sigma)
        scores += [vars(score) for score in one.scored(result.image)]
        if settings.method != "paper":
            flat = [e.flatten(1) for index in sorted(found) for e in found[index]]
            latents.append(torch.cat(flat, dim=1))
        if settings.method == "amortized" and not (one.task.undersampled or one.task.noise):
            with torch.no_grad():
                passed = posterior_pass(model, truth, torch.Generator().manual_seed(0))
            elbos += [float(passed.negative_elbo(model.config.sigma))] * len(truth)
    row = {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}
    row |= {"nll": float(np.mean(nlls)), "seconds_per_slice": seconds / len(scores)}
    if elbos:
        row["negative_elbo"] = float(np.mean(elbos))
    if latents:
        row["active_units"] = active_units(torch.cat(latents))
    return row


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", default="small", show_default=True)
@click.option("--json", "output_file", type=click.Path(path_type=Path), help="As for quality.py.")
@click.option(
    "--merge", type=click.Path(exists=True, path_type=Path), multiple=True, help="As for quality.py."
)
@click.option("--task", "only", multiple=True, help="Only tasks whose name holds this text.")
@click.option("--method", "names", type=click.Choice(list(METHODS)), multiple=True, help="Only these.")
@click.option("--every", default=2, show_default=True, help="Take every n-th slice of each file.")
def main(
    data: Path,
    checkpoint: str,
    output_file: Path | None,
    merge: tuple[Path, ...],
    only: tuple[str, ...],
    names: tuple[str, ...],
    every: int,
) -> None:
    """Score the paper's methods on the fully sampled fastMRI-schema files in DATA."""
    model, digest = load_model(checkpoint)
    plan = {}
    for task in (task for task in TASKS if task.name in CHOSEN):
        measured = measurements(data, task, slice(None, None, every))
        plan[task.name] = {
            name: fingerprint(measured, {"model": digest, **identity(settings)})
            for name, settings in METHODS.items()
        }
    facts = {
        "model_sha256": digest,
        "slices": sum(len(one.kspace) for one in measured),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }
    results = Results(output_file, plan, facts, merge)
    results.save()
    for task in (task for task in TASKS if task.name in plan):
        if only and not any(text in task.name for text in only):
            continue
        measured = measurements(data, task, slice(None, None, every))
        for name in names or METHODS:
            if not results.has(task.name, name):
                results.add(task.name, name, measure(model, METHODS[name], measured))
            row = results.rows[task.name][name]
            scores = "  ".join(f"{key} {value:.5g}" for key, value in row.items() if key != "made_from")
            click.echo(f"{task.name:26} {name:15} {scores}")


if __name__ == "__main__":
    main()
