"""IA-VAE on small images: a VAE, then a hypernetwork on its frozen encoder, beside training the VAE further."""

import copy
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.neighbours.ia_vae.hypernetwork import HyperNetwork, layers_of, modulated
from benchmarks.neighbours.ia_vae.toy import kl_to_prior
from benchmarks.neighbours.report import arrays, paired
from mri_iahvae.errors import unusable

SIDE, LATENTS = 28, 16
BATCH = 64
RATE = 1e-3
"""Of the VAE."""
HYPER_RATE, DECODER_RATE = 1e-4, 5e-5
HIDDEN = 32
"""Units of the hypernetwork."""
HELD_OUT = 840
DRAWS = 20
"""Of the latents, for the bound of a held-out image."""
STAGES = ("IA-VAE", "decoder only", "encoder and decoder")
"""What is trained after the VAE, for equally many steps."""


class Encoder(nn.Sequential):
    """Images (B, 1, 28, 28) to mean and log sigma (B, 2 LATENTS)."""

    def __init__(self) -> None:
        widths = (1, 8, 16, 16)
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*parts, nn.Flatten(), nn.Linear(256, 2 * LATENTS))


class Decoder(nn.Sequential):
    """Latents (B, LATENTS) to logits (B, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(LATENTS, 256),
            nn.ReLU(),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 16, 3, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
        )


class VAE(nn.Module):
    """Encoder and decoder, and the hypernetwork where there is one; it sees the image at a quarter of its side."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.hypernetwork: HyperNetwork | None = None

    def adapt(self) -> None:
        """Add a hypernetwork."""
        layers = layers_of(self.encoder, nn.Linear, nn.Conv2d)
        self.hypernetwork = HyperNetwork(layers, (SIDE // 4) ** 2, HIDDEN)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log sigma, (B, LATENTS) each."""
        within: Any = nullcontext()
        if self.hypernetwork is not None:
            changes = self.hypernetwork(F.avg_pool2d(images, 4).flatten(1))
            within = modulated(layers_of(self.encoder, nn.Linear, nn.Conv2d), changes)
        with within:
            mean, log_sigma = self.encoder(images).chunk(2, dim=1)
        return mean, log_sigma

    def bound(self, images: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """ELBO of one draw of the latents, and the divergence, float (B,)."""
        mean, log_sigma = self.posterior(images)
        latents = mean + log_sigma.exp() * torch.randn(mean.shape, generator=noise)
        logits = self.decoder(latents)
        misfit = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(dim=(1, 2, 3))
        divergence = kl_to_prior(mean, log_sigma)
        return -misfit - divergence, divergence


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Images for training and held out, of 0 and 1, float32 (n, 1, 28, 28): a pixel is 1 above half of full scale.

    Raises:
        ScanError: it is no npz file with images of 28 x 28.
    """
    (images,) = arrays(path, "images")
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or len(images) < HELD_OUT + BATCH:
        expected = f"at least {HELD_OUT + BATCH} images of {SIDE} x {SIDE}"
        raise unusable(path, expected, f"shape {images.shape}", "choose another file")
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = torch.from_numpy((images[order] > 127).astype(np.float32))[:, None]
    return shuffled[HELD_OUT:], shuffled[:HELD_OUT]


def run(path: Path, seeds: int, steps: int, more: int) -> dict[str, Any]:
    """Of each seed a VAE, `steps` of training; from it each of `STAGES`, `more` steps; bounds of held-out images."""
    training, held_out = load(path)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("VAE", *STAGES)}
    for seed in range(seeds):
        torch.manual_seed(seed)
        base = VAE()
        seconds = fit(base.train(), [{"params": base.parameters(), "lr": RATE}], training, steps, seed)
        base.eval()  # batch normalization is frozen from here on
        rows["VAE"].append({**score(base, held_out), "seconds": seconds, "parameters": count(base.encoder)})
        for name in STAGES:
            model = copy.deepcopy(base)
            groups: list[dict[str, Any]] = [{"params": model.decoder.parameters(), "lr": DECODER_RATE}]
            if name == "IA-VAE":
                model.adapt()
                assert model.hypernetwork is not None  # noqa: S101 - just made
                groups.append({"params": model.hypernetwork.parameters(), "lr": HYPER_RATE})
            elif name == "encoder and decoder":
                groups.append({"params": model.encoder.parameters(), "lr": HYPER_RATE})
            seconds = fit(model, groups, training, more, seed + 1000)
            row = {**score(model, held_out), "seconds": seconds}
            rows[name].append({**row, "parameters": count(model) - count(model.decoder)})
    return {"steps": steps, "more": more, "rows": rows, "gains": gains(rows)}


def fit(model: VAE, groups: list[dict[str, Any]], images: Tensor, steps: int, seed: int) -> float:
    """Maximise the bound by Adam: processor seconds."""
    start, noise = time.process_time(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(groups, fused=True)
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,), generator=noise)
        loss = -model.bound(images[chosen], noise)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - start


@torch.no_grad()
def score(model: VAE, images: Tensor) -> dict[str, float]:
    """Mean bound and divergence; the draws are the same for every model."""
    noise = torch.Generator().manual_seed(0)
    pairs = [model.bound(images, noise) for _ in range(DRAWS)]
    bound, divergence = (torch.stack(parts).mean() for parts in zip(*pairs, strict=True))
    return {"elbo": float(bound), "kl": float(divergence)}


def count(module: nn.Module) -> int:
    """Its parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def gains(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """How much the bound of IA-VAE is above each other's."""
    bounds = {name: [row["elbo"] for row in of_seeds] for name, of_seeds in rows.items()}
    adapted = bounds.pop("IA-VAE")
    return {name: paired(adapted, other) for name, other in bounds.items()}


def table(results: dict[str, Any]) -> str:
    """Means over seeds, the bound's standard deviation, and the gains."""
    lines = []
    for name, of_seeds in results["rows"].items():
        bound = np.array([row["elbo"] for row in of_seeds])
        kl, seconds = (np.mean([row[column] for row in of_seeds]) for column in ("kl", "seconds"))
        weights = of_seeds[0]["parameters"]
        cells = f"{bound.mean():.2f} +- {bound.std(ddof=1):.2f} | {kl:.2f} | {seconds:.0f}"
        lines.append(f"{name} | {weights} | {cells}")
    for name, gain in results["gains"].items():
        lines.append(f"IA-VAE less {name}: {gain['gain']:.3f}, p = {gain['p']:.3f}")
    return "\n".join(lines)
