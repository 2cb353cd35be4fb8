"""The paper's Table 1 on the left, and its Figure 3: what is inferred of held-out images."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.quality.table1 import active_units
from examples.cifar10.model import GREY, UNIT, ColourVAE
from examples.cifar10.together import regrouped, together
from examples.cifar10.training import BATCH, KINDS, Trainee
from mri_iahvae.files import atomic_path
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import Inference, infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.refine import flat
from mri_iahvae.inference.settings import InferenceSettings, Method
from mri_iahvae.kspace.bands import embed
from mri_iahvae.model.gaussian import whitened_kl
from mri_iahvae.model.protocols import Encoded, Latents, Model, Scale
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.objective import posterior_pass, squared_error

STEPS = 5, 10, 20, 50

AT_ONCE = 32
"""Images that are inferred together."""

WIDER = 10.0
"""Factor on the bounds of what is inferred, which are made for MRI: nothing is drawn that it would scale too."""


class SampledStart:
    """A scale whose encoder gives a draw of the posterior for its mean: where Algorithm 1 as printed starts."""

    def __init__(self, scale: Scale, noise: torch.Generator) -> None:
        self._scale, self._noise = scale, noise

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the scale's
        return getattr(self._scale, name)

    def encode(
        self,
        h: Tensor,
        features: Any,  # noqa: ANN401 - as `Scale.encode`
        noise: Latents | None = None,  # noqa: ARG002
        fraction: Tensor | None = None,
    ) -> Encoded:
        drawn = [torch.randn(len(h), *one.shape, generator=self._noise) for one in self._scale.latents]
        found = self._scale.encode(h, features, drawn, fraction)
        return found._replace(mean=found.latents)


def sampling(model: ColourVAE) -> SimpleNamespace:
    """The `Model` whose scales are so."""
    noise = torch.Generator().manual_seed(0)
    scales = [SampledStart(scale, noise) for scale in model.scales]
    return SimpleNamespace(
        decomposition=model.decomposition, scales=scales, sigma=model.sigma, encoder=model.encoder
    )


HOW: dict[str, Callable[[ColourVAE], Any]] = {
    "from the mean": lambda model: model,
    "from a sample": sampling,
    "scales together": together,
}
"""What becomes of a model before it is asked: the second starts from samples, both others from means."""


def everything(model: Model, coefficients: Tensor) -> Measurement:
    """All coefficients of images, measured without noise."""
    mask, noise = torch.ones(coefficients.shape, dtype=torch.bool), torch.zeros(len(coefficients))
    return Measurement.of(coefficients, mask, noise, model.decomposition)


def inferred(model: Model, coefficients: Tensor, method: Method, steps: int) -> Inference:
    """Algorithm 1 on everything measured without noise: the model's own coefficients."""
    settings = InferenceSettings(
        method, steps, precision="float32", data_consistency="none", temperature=WIDER
    )
    elements = tuple(Element(number) for number in range(len(coefficients)))
    return infer(
        model, everything(model, coefficients), settings, Draws(0, 1.0, elements, coefficients.device)
    )


@torch.no_grad()
def amortized_bound(model: ColourVAE, coefficients: Tensor) -> Tensor:
    """-ELBO at one draw of the encoder's posterior, bits per colour value, (B,)."""
    return model.negative_elbo(posterior_pass(model, coefficients, torch.Generator().manual_seed(0)))


@torch.no_grad()
def bound(model: ColourVAE, coefficients: Tensor, latents: Sequence[Latents]) -> Tensor:
    """-ELBO at one draw, bits per colour value, (B,): Gaussians about inferred latents, as wide as the encoder's.

    Any Gaussian of the whitened latents is a posterior with a closed-form divergence from their prior N(0, 1).
    """
    noise = torch.Generator().manual_seed(0)
    walk = Walk(model, len(coefficients), coefficients.device)
    session = model.encoder.begin(coefficients, torch.ones_like(coefficients, dtype=torch.bool))
    error = rate = torch.zeros(len(coefficients))
    for (scale, h), centre in zip(walk, latents, strict=True):
        target = model.decomposition.block(coefficients, scale.index)
        std = scale.encode(h, session.features(scale, target)).std
        drawn = [e + r * torch.randn(e.shape, generator=noise) for e, r in zip(centre, std, strict=True)]
        last = scale.run(h, drawn)
        part = scale.bins(last)
        ring = model.decomposition.ring(scale.index)
        error = error + squared_error(part, target * ring)
        rate = rate + sum(whitened_kl(e, r.log()) for e, r in zip(centre, std, strict=True))
        walk.extend(last, part)
    return model.bits(error, rate)


def score(
    model: ColourVAE, images: Tensor, method: Method, steps: int, how: str = "from the mean"
) -> tuple[dict[str, float], Tensor]:
    """One row of the table, means over images, and the MSE of each image, (B,).

    `mse` in squared grey levels; `nll`, the distortion alone at the inferred latents, and `negative_elbo`, bits per
    colour value; `seconds` per image; `active`, the fraction of latents whose inferred value varies over images;
    `bounded`, the fraction of images of which a scale was out of bounds (`mri_iahvae.inference.bounds`).
    """
    asked = HOW[how](model)
    coefficients = model.coefficients(images)
    parts = coefficients.split(AT_ONCE)
    start = time.process_time()
    found = [inferred(asked, part, method, steps) for part in parts]
    seconds = (time.process_time() - start) / len(images)
    bins = torch.cat([one.bins for one in found])
    latents = torch.cat([torch.cat([flat(layers) for layers in one.latents], dim=1) for one in found])
    if method == "amortized":
        bounds = amortized_bound(model, coefficients)
    else:
        centres = [regrouped(model, one.latents) for one in found]
        bounds = torch.cat([bound(model, part, e) for part, e in zip(parts, centres, strict=True)])
    errors = (model.images(bins).clamp(0, 255) - images).square().flatten(1).mean(1)
    row = {
        "mse": float(errors.mean()),
        "nll": float(model.bits(squared_error(bins, coefficients)).mean()),
        "negative_elbo": float(bounds.mean()),
        "seconds": seconds,
        "active": active_units(latents),
        "bounded": float(torch.cat([one.bounded for one in found]).float().mean()),
    }
    return row, errors


def paired(errors: Tensor, amortized: Tensor) -> dict[str, float]:
    """Mean over images of the MSE (B,) minus that of amortized inference, and the standard error of that mean."""
    difference = errors - amortized
    return {
        "mse_difference": float(difference.mean()),
        "standard_error": float(difference.std() / len(difference) ** 0.5),
    }


def rows() -> Iterator[tuple[str, str, Method, int, str]]:
    """Kind of model, name, method, steps, and how (a key of `HOW`)."""
    for kind, ordinary in KINDS.items():
        yield kind, "amortized, from the mean", "amortized", 0, "from the mean"
        yield kind, "amortized, from a sample", "amortized", 0, "from a sample"
        for steps in STEPS:
            yield kind, f"iterative N={steps}", "iterative", steps, "from the mean"
            for how in HOW:
                if not (ordinary and how == "scales together"):
                    yield kind, f"hybrid N={steps}, {how}", "hybrid", steps, how
            if not ordinary:
                yield kind, f"printed descent N={steps}, from the mean", "paper", steps, "from the mean"


def table(trainees: dict[str, Trainee], step: int, images: Tensor) -> dict[str, Any]:
    """All rows, and how the models were trained; each is printed as it is measured."""
    models = {name: one.averaged() for name, one in trainees.items()}
    score(models["separable"], images[:2], "hybrid", 1)  # first calls are slow
    found: list[dict[str, Any]] = []
    first: dict[str, Tensor] = {}
    for kind, name, method, steps, how in rows():
        row, errors = score(models[kind], images, method, steps, how)
        # Amortized from the mean is the first row.
        difference = paired(errors, first.setdefault(kind, errors))
        found.append({"model": kind, "inference": name, **row, **difference})
        print(_line(found[-1]), flush=True)
    return {
        "images": len(images),
        "steps": step,
        "images_seen": step * BATCH,
        "core_minutes": {name: one.seconds / 60 for name, one in trainees.items()},
        "parameters": {name: sum(p.numel() for p in one.parameters()) for name, one in models.items()},
        "sigma": {name: UNIT * one.sigma for name, one in models.items()},
        "rows": found,
    }


def as_text(results: dict[str, Any]) -> str:
    """The table in Markdown, and how the models were trained."""
    scores = ["MSE", "minus amortized", "NLL", "-ELBO", "s / image", "active", "out of bounds"]
    head = ["model", "inference", *scores]
    facts = (f"{key}: {value}" for key, value in results.items() if key != "rows")
    return "\n".join([*facts, "", row_of(head), row_of(["---"] * len(head)), *map(_line, results["rows"])])


def _line(row: dict[str, Any]) -> str:
    scores = (f"{row[key]:.3f}" for key in ("nll", "negative_elbo", "seconds"))
    parts = (f"{row[key]:.0%}" for key in ("active", "bounded"))
    difference = f"{row['mse_difference']:+.1f} ± {row['standard_error']:.1f}"
    return row_of([row["model"], row["inference"], f"{row['mse']:.1f}", difference, *scores, *parts])


def row_of(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def picture(model: ColourVAE, images: Tensor, path: Path) -> None:
    """Of each image the output up to each scale, then the image itself; below the output of each scale alone."""
    bins = inferred(together(model), model.coefficients(images), "hybrid", 20).bins
    split = model.decomposition
    own = [embed(split.block(bins, k) * split.ring(k), split.size) for k in range(len(split.sides))]
    alone = [*map(model.images, own), torch.full(images.shape, GREY)]
    upto = [*map(model.images, torch.stack(own).cumsum(0)), images.float()]
    grid = torch.stack([torch.stack(upto), torch.stack(alone)])  # (2, scales + 1, n, 3, N, N)
    framed = F.pad(grid.clamp(0, 255), (1, 1, 1, 1), value=255.0).round().byte()
    pixels = framed.permute(2, 0, 4, 1, 5, 3).flatten(0, 2).flatten(1, 2).numpy()
    drawn = Image.fromarray(pixels)
    with atomic_path(path) as part:
        drawn.resize((2 * drawn.width, 2 * drawn.height), Image.Resampling.NEAREST).save(
            part, format="png", optimize=True
        )
