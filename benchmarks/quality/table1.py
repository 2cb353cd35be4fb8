"""The paper's Table 1 on our data: amortized, iterative and hybrid inference at several numbers of steps.

    python -m benchmarks.quality.table1 data/reporting --json benchmarks/quality/table1.json

Every other slice of each file, the same weights for all, no guide. NMSE, PSNR, SSIM and time are those of
`compare.py`; "paper" is Algorithm 1 as printed (hybrid, plain gradient descent). Beside them:

- NLL, nats per real dimension (2 N^2 of them): -log p(y | z) / (2 N^2) of the fully sampled k-space y, before the task
  took bins or added noise, given the latents that were inferred, under the model's own white Gaussian likelihood in
  canonical units. It is the distortion term alone: latents that were refined are a point, which has no KL. Bins that
  the task took count as well.
- -ELBO, nats per real dimension: distortion plus KL at one sample of the encoder's posterior, of fully sampled k-space:
  what bounds the true negative log-likelihood. It belongs to the encoder, so only amortized inference has one.
- Active units: fraction of all latents whose inferred value, in standard deviations of its prior, has a variance over
  the slices above 0.01 (Burda et al., 2016).
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.methods import OURS, identity
from benchmarks.quality.rows import Results, facts, fingerprint
from benchmarks.shared import options
from benchmarks.shared.tasks import TASKS, Measurement, means, measurements
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import Inference, infer
from mri_iahvae.inference.measurement import Datum
from mri_iahvae.inference.measurement import Measurement as Canonical
from mri_iahvae.inference.refine import flat
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import posterior_pass

CHOSEN = ("everything measured", "up to 8x8", "up to 32x32", "random columns 4x / 0.08", "denoise 1.0")
NAMES = ("amortized", *(f"{m} N={n}" for m in ("iterative", "hybrid", "paper") for n in (5, 10, 25, 50)))
METHODS = {name: OURS[name] for name in NAMES}
ACTIVE = 0.01
"""Variance over the slices, in whitened units, above which a latent counts as active."""


def inferred(
    model: IAHVAE, settings: InferenceSettings, one: Measurement
) -> tuple[Inference, Canonical, Tensor]:
    """The package's inference of all slices in one batch, what it saw, and factors, complex64 (slices, 1, 1)."""
    kspace, mask, sigma = (torch.from_numpy(values) for values in (one.kspace, one.mask, one.sigma))
    factor = canonical_factor(kspace, mask, model.power)[:, None, None]
    elements = tuple(Element(number) for number in range(len(kspace)))
    draws = Draws(settings.seed, settings.temperature, elements, kspace.device)
    measured = Canonical.of(kspace / factor, mask[None], sigma / factor.abs().flatten(), model.decomposition)
    return infer(model, measured, settings, draws), measured, factor


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
    own = replace(settings, data_consistency="none")  # the model's own bins are what is likely
    inferred(model, own, measured[0].part(slice(0, 1)))  # first calls are slow
    for one in measured:
        start = time.process_time()
        found, measurement, factor = inferred(model, own, one)
        data = Datum(measurement.kspace, measurement.data.variance, torch.ones(len(factor)))
        bins = found.bins if task.consistency == "none" else data.fuse(found.bins, model.sigma**2)
        image = ifft2c(bins * factor).numpy()
        seconds += time.process_time() - start
        truth = torch.from_numpy(one.full) / factor
        nlls += negative_log_likelihood(found.bins, truth, model.sigma).tolist()
        scores += one.scored(image)
        latents.append(torch.cat([flat(layers) for layers in found.latents], dim=1))
        if settings.method == "amortized" and not (one.task.undersampled or one.task.noise):
            with torch.no_grad():
                passed = posterior_pass(model, truth, torch.Generator().manual_seed(0))
            elbos += [float(passed.negative_elbo(model.sigma))] * len(truth)
    row = means(scores) | {"nll": float(np.mean(nlls)), "seconds_per_slice": seconds / len(scores)}
    row["active_units"] = active_units(torch.cat(latents))
    if elbos:
        row["negative_elbo"] = float(np.mean(elbos))
    return row


@click.command()
@options.data
@options.checkpoint
@options.output
def main(data: Path, checkpoint: str, output: Path | None) -> None:
    """Score the paper's methods on the fully sampled fastMRI-schema files in DATA."""
    model, digest = load_model(checkpoint)
    tasks = {t.name: measurements(data, t, slice(None, None, 2)) for t in TASKS if t.name in CHOSEN}
    plan = {
        task: {
            name: fingerprint(measured, {"model": digest, **identity(settings)})
            for name, settings in METHODS.items()
        }
        for task, measured in tasks.items()
    }
    results = Results(output, plan, facts(digest, tasks[CHOSEN[0]]))
    for task, measured in tasks.items():
        for name, settings in METHODS.items():
            if not results.has(task, name):
                results.add(task, name, measure(model, settings, measured))
            row = results.rows[task][name]
            scores = "  ".join(f"{key} {value:.5g}" for key, value in row.items() if key != "made_from")
            click.echo(f"{task:26} {name:15} {scores}")


if __name__ == "__main__":
    main()
