"""Where the error goes when scales are refined: squared error of each ring, one scale or all of them refined."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from examples.cifar10.model import UNIT, ColourVAE
from examples.cifar10.table import WIDER, everything, inferred, row_of
from examples.cifar10.together import together
from mri_iahvae.inference.infer import Problem
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.objective import squared_error


@torch.no_grad()
def refined(
    model: ColourVAE, coefficients: Tensor, chosen: Collection[int], steps: int, *, passed_on: bool = True
) -> Tensor:
    """Coefficients, complex (B, 2 N, 2 N), of which some scales are refined from the encoder's means.

    Args:
        model: a separable one.
        coefficients: of the images.
        chosen: indices of these scales.
        steps: of each.
        passed_on: finer scales see the refined latents; else those that the encoder gave, which no model allows, and
            which tells what became of the contexts.
    """
    settings = InferenceSettings("hybrid", steps, precision="float32", temperature=WIDER)
    measured = everything(model, coefficients)
    walk = Walk(model, len(coefficients), coefficients.device)
    session = model.encoder.begin(measured.kspace, measured.mask)
    for scale, h in walk:
        features = session.features(scale, model.decomposition.block(coefficients, scale.index))
        encoded = scale.encode(h, features)
        latents = encoded.mean
        if scale.index in chosen:
            centre = [torch.zeros_like(e) for e in latents]
            problem = Problem(
                scale, h, measured.at(scale), centre, model.sigma**2, lambda found=encoded: (None, found)
            )
            latents, _ = refine(problem, latents, encoded.std, settings)
        last = scale.run(h, latents)
        walk.extend(last if passed_on else encoded.last, scale.bins(last))
    return walk.coarse


def errors(model: ColourVAE, bins: Tensor, coefficients: Tensor) -> list[float]:
    """Of each ring, in squared grey levels; their sum is the MSE of output that is not clipped."""
    split = model.decomposition
    found = []
    for index in range(len(split.sides)):
        ring = split.ring(index)
        error = squared_error(split.block(bins, index) * ring, split.block(coefficients, index) * ring)
        found.append(float(error.mean()) * UNIT**2 / (3 * model.size**2))
    return found


def table(model: ColourVAE, images: Tensor, steps: int) -> dict[str, Any]:
    """Rows of errors by ring."""
    coefficients = model.coefficients(images)
    rows = [
        {"refined": name, "errors": errors(model, bins, coefficients)}
        for name, bins in _cases(model, coefficients, steps)
    ]
    return {"images": len(images), "steps": steps, "rows": rows}


def _cases(model: ColourVAE, x: Tensor, steps: int) -> Iterator[tuple[str, Tensor]]:
    indices = range(len(model.decomposition.sides))
    yield "none", refined(model, x, (), steps)
    for index in indices:
        yield f"scale {2**index} only", refined(model, x, (index,), steps)
    yield "all, one after the other", refined(model, x, indices, steps)
    yield "all, contexts from the encoder", refined(model, x, indices, steps, passed_on=False)
    yield "all together", inferred(together(model), x, "hybrid", steps).bins


def as_text(results: dict[str, Any]) -> str:
    """The table in Markdown."""
    sides = [f"ring {2**index}" for index in range(len(results["rows"][0]["errors"]))]
    head = ["refined", *sides, "sum"]
    lines = [
        row_of([row["refined"], *(f"{error:.1f}" for error in [*row["errors"], sum(row["errors"])])])
        for row in results["rows"]
    ]
    return "\n".join([row_of(head), row_of(["---"] * len(head)), *lines])
