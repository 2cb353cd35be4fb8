"""What a completion leaves of the bins beyond the measured block, by distance from the centre, and what may be noise.

    python -m benchmarks.quality.beyond data/reporting --up-to 64

Numbers are energies of errors over those of the bins. "noise" is an upper bound of what no model can tell: as if the
outermost corners of k-space held white noise alone, and all other bins as much of it.
"""

from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.shared.tasks import scans
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.pipeline.volume import reconstruct_volume

_RING = 8  # bins
_CORNER = 0.93  # of the largest distance


def distance(size: int) -> Tensor:
    """Of each bin from the centre, in bins: float (N, N)."""
    offset = torch.arange(size) - size // 2
    return (offset[:, None] ** 2 + offset**2).sqrt()


def noise_share(kspace: Tensor, beyond: Tensor) -> float:
    """Most that white noise can be of the energy of some bins, bool (N, N), of k-space, complex (B, N, N)."""
    power, far = kspace.abs().square(), distance(kspace.shape[-1])
    corner = power[:, far > _CORNER * far.max()].mean(1)
    return float((corner * beyond.sum()).sum() / power[:, beyond].sum())


def left(completed: Tensor, kspace: Tensor, bins: Tensor) -> float:
    """Energy of the error over that of the truth, complex (B, N, N), at some bins, bool (N, N)."""
    return float((completed - kspace)[:, bins].abs().square().sum() / kspace[:, bins].abs().square().sum())


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--up-to",
    "block",
    type=click.IntRange(2),
    default=64,
    show_default=True,
    help="Side of the measured block.",
)
@click.option("--checkpoint", default="small", show_default=True)
@click.option("--slices", "most", default=12, show_default=True, help="At most, of each file.")
def main(data: Path, block: int, checkpoint: str, most: int) -> None:
    """Complete the slices in DATA by the prior's mean, and print what is left."""
    model, _ = load_model(checkpoint)
    size = model.size
    if block >= size:
        raise click.UsageError(f"--up-to {block}: leaves nothing of the model's {size} x {size}, choose less")
    inside = block_mask(block, size)
    far = distance(size)
    edges = range(block // 2, int(far.max()), _RING)
    rings = [~inside & (far >= edge) & (far < edge + _RING) for edge in edges]
    click.echo("file                    all  noise  " + " ".join(f"{edge:>5}-" for edge in edges))
    for name, full, _ in scans(data):
        chosen = full[torch.linspace(0, len(full) - 1, min(most, len(full))).long().numpy()]
        settings = InferenceSettings("amortized")
        result = reconstruct_volume(model, chosen, None, settings, up_to=block)
        found, kspace = (torch.from_numpy(k / result.factors[:, None, None]) for k in (result.kspace, chosen))
        parts = [left(found, kspace, ~inside), noise_share(kspace, ~inside)]
        parts += [left(found, kspace, ring) for ring in rings]
        click.echo(f"{Path(name).stem[:20]:20}" + " ".join(f"{part:6.3f}" for part in parts))


if __name__ == "__main__":
    main()
