"""IA-VAE's synthetic experiment: how near the encoders' Gaussians come to posteriors that are known."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.neighbours.ia_vae import toy
from benchmarks.neighbours.ia_vae.stacked import Array, Encoder, Modulated, Plain, posteriors, train

WIDTHS = (2, 8, 14)
"""Hidden units of plain encoders: 20, 68 and 116 weights; the first is the base."""
POINTS = (4000, 1000, 5000)
"""For training, for early stopping, for the scores."""
QUANTILES = (0.5, 0.9)
"""Of the base's distance to the mode: the two points of the figure."""


class Gaussians(NamedTuple):
    """An encoder's posteriors of all points, mean and log sigma, float64 (S, n, 2)."""

    mean: Tensor
    log_sigma: Tensor


def run(seeds: int, epochs: int, patience: int, figure: Path | None) -> dict[str, Any]:
    """Train everything, and score it on fresh points: a row for each encoder, with a number for each seed."""
    noise = torch.Generator().manual_seed(0)
    points, validation, fresh = (toy.draw(count, noise).numpy() for count in POINTS)
    x = torch.from_numpy(fresh).double()
    mode, _ = toy.best_gaussian(x, point=True)
    rows: dict[str, Any] = {}
    found: dict[str, Gaussians] = {}

    def add(name: str, encoder: Encoder) -> Array:
        start = time.process_time()
        trained = train(encoder, range(seeds), points, validation, epochs, patience)
        seconds = time.process_time() - start
        found[name] = Gaussians(*posteriors(encoder, trained.weights, fresh))
        facts = {"weights": trained.weights.shape[1], "epochs": trained.epochs, "seconds": seconds}
        rows[name] = facts | scores(x, mode, found[name])
        return trained.weights

    base, *_ = [add(f"VAE, {width} units", Plain(width)) for width in WIDTHS]
    add("IA-VAE", Modulated(base))
    rows["IA-VAE"]["weights"] += base.shape[1]
    best = Gaussians(*(part[None] for part in toy.best_gaussian(x)))
    rows["best of each point"] = scores(x, mode, best)
    if figure is not None:
        draw(figure, x, mode, found[f"VAE, {WIDTHS[0]} units"], found["IA-VAE"])
    evidence = float(toy.log_evidence(x, mode).mean())
    return {"constant": toy.CONSTANT, "log_evidence": evidence, "rows": rows}


def scores(x: Tensor, mode: Tensor, found: Gaussians) -> dict[str, list[float]]:
    """Means over the points x (n, 3), for each seed.

    The density ratio is that of the true posterior at the Gaussian's mean and at the mode. `at_mean` is what the bound
    becomes where the mean stands for draws of z and no constant is counted: no bound, but what the paper's level fits.
    """
    ratio = (toy.log_joint(x, found.mean) - toy.log_joint(x, mode)).exp()
    bound, divergence = toy.elbo(x, *found), toy.kl_to_prior(*found)
    misfit = (x - toy.decoded(found.mean)).square().sum(-1) / (2 * toy.SIGMA**2)
    return {
        "elbo": bound.mean(1).tolist(),
        "at_mean": (-misfit - divergence).mean(1).tolist(),
        "kl": divergence.mean(1).tolist(),
        "mahalanobis": distances(x, mode, found.mean).mean(1).tolist(),
        "density_ratio": ratio.mean(1).tolist(),
    }


def distances(x: Tensor, mode: Tensor, mean: Tensor) -> Tensor:
    """Mahalanobis distance of means (S, n, 2) to the modes (n, 2), by the Laplace fits there: (S, n)."""
    offset = mean - mode
    return torch.einsum("sni,nij,snj->sn", offset, toy.curvature(x, mode), offset).sqrt()


def table(results: dict[str, Any]) -> str:
    """Median over seeds, least to largest in brackets."""
    columns = ("elbo", "at_mean", "kl", "mahalanobis", "density_ratio")
    lines = [f"log p(x) {results['log_evidence']:.2f}, constants {results['constant']:.2f}"]
    for name, row in results["rows"].items():
        cells = [name, str(row.get("weights", ""))]
        for column in columns:
            values = np.array(row[column])
            spread = f" ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
            cells.append(f"{np.median(values):.2f}{spread}")
        lines.append(" | ".join(cells))
    return "\n".join(lines)


def draw(path: Path, x: Tensor, mode: Tensor, base: Gaussians, adapted: Gaussians) -> None:
    """Two true posteriors, with the Gaussians of the first seed's encoders: a curve at two standard deviations."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where a figure is asked for

    distance = distances(x, mode, base.mean)[0]
    order = distance.argsort()
    figure = Figure(figsize=(7.2, 4.0), dpi=110, layout="constrained")
    angle = torch.linspace(0, 2 * torch.pi, 200, dtype=torch.float64)
    circle = 2 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    for axis, quantile in zip(figure.subplots(1, 2), QUANTILES, strict=True):
        chosen = int(order[int(quantile * (len(order) - 1))])
        curves = {}
        for label, style, gaussians in (("base", "C1--", base), ("IA-VAE", "C0-", adapted)):
            mean, sigma = gaussians.mean[0, chosen], gaussians.log_sigma[0, chosen].exp()
            curves[label] = style, mean + sigma * circle
        spread = torch.linalg.inv(toy.curvature(x, mode)[chosen]).diagonal().sqrt()
        truth = mode[chosen] + 3 * torch.stack([-spread, spread])
        everything = torch.cat([truth, *(curve for _, curve in curves.values())])
        low, high = everything.amin(0), everything.amax(0)
        centre, half = (low + high) / 2, 0.55 * float((high - low).max())
        sides = [torch.linspace(float(c) - half, float(c) + half, 201, dtype=torch.float64) for c in centre]
        grid = torch.stack(torch.meshgrid(*sides, indexing="xy"), dim=-1)
        density = toy.log_joint(x[chosen], grid) - toy.log_joint(x[chosen], mode[chosen])
        axis.contourf(*sides, density.exp(), levels=10, cmap="Greys")
        for label, (style, curve) in curves.items():
            axis.plot(*curve.T, style, label=label, linewidth=1.5)
        axis.plot(*mode[chosen], "k+", label="mode")
        axis.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
        axis.set_title(f"base {float(distance[chosen]):.1f} from the mode", fontsize=9)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path)
