"""Measure on held-back slices how far a model's priors spread, and store it with the checkpoint.

python examples/measure_spread.py runs/small/model data/slices/singlecoil_val

For each scale, from the true coarser bins: energy of the prior's samples about its mean over that of the mean's error,
at least 1. `reconstruct` and `denoise` let the prior of an estimate count that many times.
"""

import json
from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from mri_iahvae.files import write_json
from mri_iahvae.kspace.bands import crop, scales
from mri_iahvae.model.checkpoint import find_checkpoint, load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.train import FolderSlices
from mri_iahvae.training.batches import CachedSlices
from mri_iahvae.training.objective import block_context, squared_error
from mri_iahvae.training.statistics import canonical_batch


@torch.no_grad()
def measure(model: IAHVAE, kspace: Tensor, draws: int) -> tuple[float, ...]:
    """Spread of each scale's prior over the error of its mean, of canonical slices (B, N, N)."""
    noise = torch.Generator().manual_seed(0)
    ratios = [1.0]
    for index, s in list(enumerate(scales(model.size)))[1:]:
        coarse = crop(kspace, s // 2)
        start = model.context(index, block_context(model, kspace, index - 1), coarse)
        mean = model.band(index, model.descend(index, start)[0])
        error = squared_error(mean, crop(kspace, s) * model.ring(index)).sum()
        energy = torch.zeros(())
        for _ in range(draws):
            shape = (len(kspace), *model.latent_shape(index))
            latents = [torch.randn(shape, generator=noise) for _ in model.layers(index)]
            energy += (
                squared_error(model.band(index, model.descend(index, start, latents)[0]), mean).sum() / draws
            )
        ratios.append(max(1.0, round(float(energy / error), 2)))
    return tuple(ratios)


@click.command()
@click.argument("checkpoint")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--slices", default=24, show_default=True)
def main(checkpoint: str, data: Path, slices: int) -> None:
    model = load_model(checkpoint)[0]
    source = CachedSlices(FolderSlices([open_scan(path) for path in sorted(data.glob("*.h5"))], model.size))
    chosen = torch.linspace(0, len(source) - 1, slices).long().tolist()
    spread = measure(model, canonical_batch(source.stack(chosen), model.size), 4)
    file = find_checkpoint(checkpoint) / "config.json"
    config = json.loads(file.read_text())
    config["model"] = replace(model.config, spread=spread).to_json()
    write_json(file, config)
    print(f"{file}: {spread}")


if __name__ == "__main__":
    main()
