"""With and without each of the three parts of DVP-VAE: the same images, noise and initial weights for each seed."""

from typing import Any, NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.neighbours.dvp_vae.images import Data
from benchmarks.neighbours.dvp_vae.pseudo_input import PseudoInput
from benchmarks.neighbours.dvp_vae.training import DRAWS, INSTANTS, DvpVae, fit, score
from benchmarks.neighbours.report import paired
from mri_iahvae.training.coarse_prior import fit_mixture

SAMPLES = 20000
"""Draws of u that Gaussian and mixture are fitted to."""
COMPONENTS = 16


class Kind(NamedTuple):
    """What a model has."""

    u: bool
    aggregation: bool


KINDS = {
    "u and aggregation": Kind(u=True, aggregation=True),
    "aggregation": Kind(u=False, aggregation=True),
    "u": Kind(u=True, aggregation=False),
    "neither": Kind(u=False, aggregation=False),
}
Array = NDArray[np.float64]
Row = dict[str, Any]
Model = tuple[str, str]
"""One of `KINDS`, and the prior of u, "" where there is no u."""

DVP: Model = ("u and aggregation", "diffusion")
COMPARED: dict[str, tuple[Model, Model]] = {
    "u": (DVP, ("aggregation", "")),
    "u, no aggregation": (("u", "diffusion"), ("neither", "")),
    "diffusion, not a Gaussian": (DVP, ("u and aggregation", "Gaussian")),
    "diffusion, not a mixture": (DVP, ("u and aggregation", "mixture")),
    "aggregation": (DVP, ("u", "diffusion")),
    "aggregation, no u": (("aggregation", ""), ("neither", "")),
}
"""What the paper says is better, and what it is compared with."""


def run(data: Data, seeds: int, steps: int, sigma: float, names: tuple[str, ...]) -> dict[str, Any]:
    """Train the kinds of model of these names, `steps` each, with every seed, and score them on held-out images.

    Gaussian and mixture have no part in training: f and s are fixed, so p(u) and the rest have no weight in common.
    Two seeds or more are compared.
    """
    pseudo = PseudoInput(data.training, data.block, sigma)
    noise, x = torch.Generator().manual_seed(1), data.held_out.float() / 255
    u = torch.cat([pseudo.draw(x, noise) for _ in range(DRAWS)])
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for seed in range(seeds):
        samples = _samples(pseudo, data.training, seed)
        of_u = {
            label: pseudo.negative_entropy - float(fitted.log_prob(u.double()).mean())
            for label, count in (("Gaussian", 1), ("mixture", COMPONENTS))
            for fitted, _ in [fit_mixture(samples.double(), count, seed)]
        }
        for name in names:
            kind = KINDS[name]
            model = DvpVae(data, pseudo if kind.u else None, samples, aggregated=kind.aggregation, seed=seed)
            course = fit(model, data.training, steps, seed)
            row: Row = {**score(model, data.held_out), **vars(course), "u": {}}
            if model.prior is not None:
                with torch.no_grad():
                    bound = model.prior.bound(u, noise.manual_seed(2), INSTANTS).mean()
                row["u"] = {**of_u, "diffusion": pseudo.negative_entropy + float(bound)}
            row["weights"] = sum(one.numel() for one in model.parameters())
            rows[name].append(row)
            click.echo(f"seed {seed}, {name}: {row}", err=True)
    facts = {"steps": steps, "sigma": sigma, "numbers_of_u": pseudo.size}
    compared = {
        question: gain(rows, *models)
        for question, models in COMPARED.items()
        if seeds > 1 and all(kind in rows for kind, _ in models)
    }
    return {**facts, "rows": rows, "gains": compared}


def _samples(pseudo: PseudoInput, images: Tensor, seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed + 2000)
    chosen = torch.randint(len(images), (SAMPLES,), generator=noise)
    return torch.cat([pseudo.draw(images[part].float() / 255, noise) for part in chosen.split(1000)])


def negative_elbo(rows: dict[str, list[Row]], model: Model) -> Array:
    """Of each seed, nats."""
    kind, prior = model
    return np.array(
        [row["misfit"] + sum(row["layers"]) + (row["u"][prior] if prior else 0.0) for row in rows[kind]]
    )


def gain(rows: dict[str, list[Row]], first: Model, second: Model) -> dict[str, float]:
    """How much better the first is, nats."""
    return paired(negative_elbo(rows, second), negative_elbo(rows, first))


def table(results: dict[str, Any], unit: float = 1.0) -> str:
    """Means over seeds, in units of so many nats; then what is better by how much."""
    lines = []
    for name, of_seeds in results["rows"].items():
        for prior in of_seeds[0]["u"] or [""]:
            bound = negative_elbo(results["rows"], (name, prior)) / unit
            of_u = np.mean([row["u"].get(prior, 0.0) for row in of_seeds]) / unit
            layers = np.mean([row["layers"] for row in of_seeds], axis=0) / unit
            misfit = np.mean([row["misfit"] for row in of_seeds]) / unit
            spread = f" +- {bound.std(ddof=1):.3f}" if len(bound) > 1 else ""
            cells = [f"{name} {prior}", f"{bound.mean():.3f}{spread}"]
            cells += [f"{misfit:.3f}", f"{of_u:.3f}", " ".join(f"{layer:.3f}" for layer in layers)]
            cells += [
                f"{100 * np.mean([row[key] for row in of_seeds]):.0f} %" for key in ("moving", "informed")
            ]
            cells += [
                f"{np.mean([row[key] for row in of_seeds]):.1f}" for key in ("clipped", "skipped", "seconds")
            ]
            lines.append(" | ".join(cells))
    for question, found in results["gains"].items():
        values = f"{found['gain'] / unit:+.3f} +- {found['deviation'] / unit:.3f}"
        lines.append(f"{question}: {values}, p = {found['p']:.3f}")
    return "\n".join(lines)
