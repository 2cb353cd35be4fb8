"""Training of a DVP-VAE, and what it scores on held-out images."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.neighbours.coarse_diffusion import Diffusion
from benchmarks.neighbours.dvp_vae.hvae import HVAE, Terms
from benchmarks.neighbours.dvp_vae.images import Data
from benchmarks.neighbours.dvp_vae.pseudo_input import PseudoInput

BATCH, RATE = 32, 2e-3
CLIP = 200.0
"""Norm of the gradient, nats per image, from which on it is shortened."""
PRIOR_BATCH, PRIOR_STEPS = 256, 3
"""Images of a step of the prior, and its steps for each one of the rest: they are cheap."""
INSTANTS = 100_000
"""T of the diffusion: near the limit of continuous time, where the bound is best."""
WIDTH, BLOCKS = 128, 2
"""Of the diffusion's network."""
DRAWS = 4
"""Of the latents, for the scores of a held-out image."""
ACTIVE = 0.01
"""From which on a latent is active: variance of its posterior mean over images, or nats of its divergence."""


class DvpVae(nn.Module):
    """The hierarchy, and where there is a pseudo-input, its diffusion prior.

    The bound has the terms of the hierarchy, the prior's bound of -log p(u), and the entropy of r(u | x), a constant.

    Args:
        data: images.
        pseudo: None for an ordinary hierarchical VAE.
        samples: draws of u to whiten by, float (n, D).
        aggregated: whether the likelihood sees all latents.
        seed: of the initial weights.
    """

    def __init__(
        self, data: Data, pseudo: PseudoInput | None, samples: Tensor, *, aggregated: bool, seed: int
    ) -> None:
        super().__init__()
        self.pseudo, self.likelihood = pseudo, data.likelihood
        torch.manual_seed(seed)
        self.hvae = HVAE(data.shape, data.parameters, conditioned=pseudo is not None, aggregated=aggregated)
        bias = self.hvae.outputs.bias
        assert bias is not None  # noqa: S101 - a convolution has one
        nn.init.constant_(bias, data.start)
        torch.manual_seed(seed)
        self.prior = None if pseudo is None else Diffusion(samples, WIDTH, BLOCKS)

    def terms(self, images: Tensor, noise: torch.Generator, of_u: torch.Generator) -> Terms:
        """All of the bound but the term of u, of images (B, C, N, N) from 0 to 1; noise of the latents, and of u."""
        if self.pseudo is None:
            return self.hvae(images, None, noise, self.likelihood)
        u = self.pseudo.draw(images, of_u)
        low_pass = {side: self.pseudo.image(u, side) for side in set(self.hvae.sides)}
        return self.hvae(images, [low_pass[side] for side in self.hvae.sides], noise, self.likelihood)


@dataclass
class Course:
    """How training went: steps that were shortened or, without a finite gradient, not made; processor seconds."""

    clipped: int = 0
    skipped: int = 0
    seconds: float = 0.0


def fit(model: DvpVae, images: Tensor, steps: int, seed: int) -> Course:
    """Maximise the bound by Adam.

    Its terms in p(u) and in the hierarchy have no weight in common, so each has its own optimizer. Draws of u have a
    generator of their own: images and the noise of the latents are the same for all models.
    """
    course, start = Course(), time.process_time()
    noise, of_u = (torch.Generator().manual_seed(one) for one in (seed, seed + 1000))
    optimizer, schedule = _optimizer(model.hvae, steps)
    of_prior = None if model.prior is None else _optimizer(model.prior, steps * PRIOR_STEPS)
    for _ in range(steps):
        x = images[torch.randint(len(images), (BATCH,), generator=noise)].float() / 255
        optimizer.zero_grad()
        model.terms(x, noise, of_u).negative_bound().mean().backward()
        norm = nn.utils.clip_grad_norm_(model.hvae.parameters(), CLIP)
        if not norm.isfinite():
            optimizer.zero_grad()  # no weight moves
            course.skipped += 1
        course.clipped += CLIP < float(norm) < math.inf
        optimizer.step()
        schedule.step()
        if model.pseudo is not None and model.prior is not None and of_prior is not None:
            for _ in range(PRIOR_STEPS):
                chosen = torch.randint(len(images), (PRIOR_BATCH,), generator=of_u)
                u = model.pseudo.draw(images[chosen].float() / 255, of_u)
                of_prior[0].zero_grad()
                model.prior.bound(u, of_u, INSTANTS, times=1).mean().backward()
                for one in of_prior:
                    one.step()
    course.seconds = time.process_time() - start
    return course


def _optimizer(module: nn.Module, steps: int) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.OneCycleLR]:
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)


@torch.no_grad()
def score(model: DvpVae, images: Tensor) -> dict[str, Any]:
    """Of held-out images, means over images and draws, nats: `misfit`, and `layers`, the divergence of each.

    `moving` and `informed` are the fractions of latents that are active by their posterior mean (Burda et al., arXiv
    1509.00519) and by their divergence. The posterior mean is that over draws of the coarser latents.
    """
    noise, of_u = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    parts = []
    for some in images.split(4 * BATCH):
        draws = [model.terms(some.float() / 255, noise, of_u) for _ in range(DRAWS)]
        columns = zip(*([one.misfit[:, None], *one.divergences, *one.means] for one in draws), strict=True)
        parts.append([torch.stack(column).mean(0).flatten(1) for column in columns])
    misfit, *others = (torch.cat(column) for column in zip(*parts, strict=True))
    divergences, means = others[: len(others) // 2], others[len(others) // 2 :]
    moving, informed = torch.cat(means, dim=1).var(0) > ACTIVE, torch.cat(divergences, dim=1).mean(0) > ACTIVE
    return {
        "misfit": float(misfit.mean()),
        "layers": [float(layer.sum(1).mean()) for layer in divergences],
        "moving": float(moving.float().mean()),
        "informed": float(informed.float().mean()),
    }
