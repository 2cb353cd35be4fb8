"""Priors of the coarse block B_8 compared: the hierarchy's own, a Gaussian, mixtures, and a small diffusion.

    python -m benchmarks.neighbours.coarse_density TRAIN.npz VAL.npz --json benchmarks/neighbours/coarse_density.json

TRAIN and VAL hold magnitude images (`images`, `subject`), as `mri-iahvae simulate` reads them; phase, noise and
augmentation are those of training. The number of components is judged on four subjects of TRAIN that are held back, all
else on VAL: nats per real number of canonical B_8, and whether its samples can be distinguished from blocks of VAL.
`--write FOLDER` stores the best mixture as the coarse prior of a checkpoint.
"""

import math
import time
from copy import copy
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.neighbours.coarse_diffusion import fit_diffusion
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.prior import sample_prior
from mri_iahvae.kspace.bands import crop, embed
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.model.coarse_file import load_coarse, save_coarse
from mri_iahvae.model.coarse_prior import CoarsePrior, numbers_of
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.mixture import Mixture
from mri_iahvae.model.walk import Walk
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.training.augment import augment
from mri_iahvae.training.coarse_prior import core_blocks, dithered, fit_mixture
from mri_iahvae.training.objective import squared_error
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.statistics import canonical_batch

HELD_BACK = ("IXI606", "IXI632", "oms_long_patient20", "cheng_fold3_class1")
_NOISE = 0.01  # of the RMS, as `mri-iahvae simulate` has it
_PERMUTATIONS = 1000


class Magnitudes:
    """Magnitude images as fully sampled slices, each with a smooth phase and noise of its own (`SliceSource`)."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[np.complex64]:
        """k-space of one slice, complex64 (n, n)."""
        generator = torch.Generator().manual_seed(index)
        magnitude = torch.from_numpy(self.images[index].astype(np.float32) / 255)
        phase = smooth_phase(1, (magnitude.shape[0], magnitude.shape[1]), generator)[0]
        kspace = fft2c(torch.polar(magnitude, phase))
        return (kspace + complex_noise(tuple(kspace.shape), float(_NOISE * rms(kspace)), generator)).numpy()


@torch.no_grad()
def hierarchy_bound(model: IAHVAE, blocks: Tensor, seed: int = 0) -> float:
    """The negative ELBO of canonical blocks B_8 by its scales 1 to 8, nats per number, from one posterior sample."""
    kspace, noise = embed(blocks, model.size), torch.Generator().manual_seed(seed)
    scales = [scale for scale in model.scales if scale.side <= blocks.shape[-1]]
    walk = Walk(model, len(kspace), kspace.device, scales=scales)
    session = model.encoder.begin(kspace, torch.ones_like(kspace, dtype=torch.bool))
    nats = torch.zeros(len(blocks))
    for scale, h in walk:
        block = model.decomposition.block(kspace, scale.index)
        drawn = [torch.randn((len(kspace), *latent.shape), generator=noise) for latent in scale.latents]
        encoded = scale.encode(h, session.features(scale, block), drawn)
        part, ring = scale.bins(encoded.last), model.decomposition.ring(scale.index)
        nats += squared_error(part, block * ring) / (2 * model.sigma**2) + encoded.rate
        nats += ring.sum() * math.log(2 * math.pi * model.sigma**2)
        walk.extend(encoded.last, part)
        session.extend(scale, block)
    return float(nats.mean()) / (2 * blocks[0].numel())


def gaussian(samples: Tensor, *, diagonal: bool) -> Mixture:
    """The Gaussian of samples (n, D)."""
    covariance = samples.mT.cov()
    if diagonal:
        covariance = torch.diag(covariance.diagonal())
    return Mixture(torch.zeros(1, dtype=torch.float64), samples.mean(0)[None], covariance[None])


def two_sample(a: Tensor, b: Tensor, seed: int = 0) -> dict[str, float]:
    """Kernel two-sample test (Gretton et al. 2012) of real numbers (n, D) and (m, D).

    Returns:
        The squared maximum mean discrepancy, unbiased, with a Gaussian kernel of the median distance; and the fraction
        of random divisions of all samples that have one as large.
    """
    both = torch.cat([a, b]).double()
    squares = torch.cdist(both, both).square()
    kernel = torch.exp(-squares / squares[squares > 0].median())
    kernel.fill_diagonal_(0)
    n, m, generator = len(a), len(b), torch.Generator().manual_seed(seed)

    def discrepancy(order: Tensor) -> float:
        sign = torch.zeros(n + m, dtype=torch.float64)
        own, other = sign.clone(), sign.clone()
        own[order[:n]], other[order[n:]] = 1, 1
        within = own @ kernel @ own / (n * (n - 1)) + other @ kernel @ other / (m * (m - 1))
        return float(within - 2 * own @ kernel @ other / (n * m))

    found = discrepancy(torch.arange(n + m))
    drawn = [discrepancy(torch.randperm(n + m, generator=generator)) for _ in range(_PERMUTATIONS)]
    return {"mmd2": found, "p": (1 + sum(one >= found for one in drawn)) / (1 + _PERMUTATIONS)}


def tests(loaded: LoadedModel, prior: CoarsePrior, real: Tensor) -> dict[str, dict[str, float]]:
    """Two-sample tests of B_8, and of magnitudes at 32 x 32 pixels, against `real` k-space (n, 32, 32), canonical."""
    count, model = len(real), copy(loaded.model)
    model.scales = [scale for scale in model.scales if scale.side <= real.shape[-1]]  # what is looked at
    draws = Draws(0, 1.0, tuple(Element(number, 0) for number in range(count)), torch.device("cpu"))
    rows = {}
    half = count // 2
    drawn = {"hierarchy": sample_prior(model, draws), "mixture": sample_prior(model, draws, prior)}
    sets = {
        "the other half of the slices": (real[:half], real[half:]),
        **{name: (real, kspace) for name, kspace in drawn.items()},
    }
    for name, pair in sets.items():
        blocks = [torch.view_as_real(crop(one, prior.side)).flatten(1) for one in pair]
        images = [ifft2c(one).abs().flatten(1) for one in pair]
        for what, values in (("B_8", blocks), ("image", images)):
            rows[f"{what}, {name}"] = two_sample(values[0], values[1])
    return rows


def canonical_slices(source: CachedSlices, count: int, size: int, seed: int = 0) -> Tensor:
    """Canonical k-space up to 32 x 32 of randomly chosen, augmented slices: complex64 (count, 32, 32)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(source), (count,), generator=generator).tolist()
    return torch.cat(
        [
            crop(canonical_batch(augment(source.stack(chosen[i : i + 32]), generator), size), 32)
            for i in range(0, count, 32)
        ]
    )


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("val", type=click.Path(exists=True, path_type=Path))
@options.checkpoint
@options.output
@click.option("--components", multiple=True, type=int, default=(1, 8, 16, 32), show_default=True)
@click.option("--blocks", default=16384, show_default=True, help="Augmented blocks to fit to.")
@click.option("--minutes", default=5.0, show_default=True, help="Processor time for the diffusion.")
@click.option("--write", type=click.Path(path_type=Path), help="Folder for the fitted coarse.safetensors.")
def main(
    train: Path,
    val: Path,
    checkpoint: str,
    output: Path | None,
    components: tuple[int, ...],
    blocks: int,
    minutes: float,
    write: Path | None,
) -> None:
    """Fit priors of B_8 to the images in TRAIN, and judge them on those in VAL."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    model = loaded.model
    with np.load(train) as archive:
        images, held = archive["images"], np.isin(archive["subject"], HELD_BACK)
    with np.load(val) as archive:
        others = archive["images"]
    sources = [CachedSlices(Magnitudes(part)) for part in (images[~held], images[held], others)]
    samples, choice, judged = (
        core_blocks(source, model.size, count, seed)
        for seed, (source, count) in enumerate(zip(sources, (blocks, 1024, 1024), strict=True))
    )
    numbers, held_back, last = (numbers_of(part) for part in (samples, choice, judged))
    fuzzy = dithered(numbers, model.size, 0)
    rows: dict[str, dict[str, float]] = {}

    def add(name: str, nats: tuple[float, float], seconds: float) -> None:
        rows[name] = {"held back": nats[0], "validation": nats[1], "seconds": seconds}
        click.echo(f"{name:24} " + "  ".join(f"{key} {value:.3f}" for key, value in rows[name].items()))

    def add_mixture(name: str, mixture: Mixture, seconds: float = 0.0) -> None:
        nats = [-float(mixture.log_prob(part).mean()) / part.shape[1] for part in (held_back, last)]
        add(name, (nats[0], nats[1]), seconds)

    add("hierarchy", (hierarchy_bound(model, choice), hierarchy_bound(model, judged)), 0.0)
    add_mixture("diagonal Gaussian", gaussian(fuzzy, diagonal=True))
    fitted = {}
    for count in components:
        begun = time.process_time()
        fitted[count], _ = fit_mixture(fuzzy, count)
        add_mixture(f"mixture of {count}", fitted[count], time.process_time() - begun)
    best = min(fitted, key=lambda count: rows[f"mixture of {count}"]["held back"])
    prior = CoarsePrior(fitted[best])
    if write is not None:
        save_coarse(prior, write)
        prior, _ = load_coarse(write) or (prior, "")
        add_mixture("as stored", prior.mixture)
    found = tests(loaded, prior, canonical_slices(sources[2], 256, model.size))
    for name, test in found.items():
        click.echo(f"{name:40} " + "  ".join(f"{key} {value:.4f}" for key, value in test.items()))
    diffusion, steps = fit_diffusion(fuzzy, minutes)
    noise = torch.Generator()
    bounds = [
        float(diffusion.bound(part, noise.manual_seed(0)).mean()) / part.shape[1]
        for part in (held_back, last)
    ]
    add("diffusion", (bounds[0], bounds[1]), 60 * minutes)
    if output:
        write_json(
            output,
            {
                "model_sha256": loaded.sha256,
                "blocks": blocks,
                "diffusion_steps": steps,
                "nats": rows,
                "tests": found,
            },
        )


if __name__ == "__main__":
    main()
