"""Where the model fails, as pictures for its card: little of a head measured, and what is no head.

    python -m benchmarks.quality.failures data/reporting/IXI206.h5 -o pretrained/small/failures.png

Rows: the head from its 4 x 4 and its 16 x 16 central bins and at random columns 8x; the Shepp-Logan phantom and a
photograph of coins (both from scikit-image), with smooth phase, at random columns 4x; in each its NMSE.
"""

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data, transform

from benchmarks.shared import options
from benchmarks.shared.tasks import nmses
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.results.figures import grid_figure
from mri_iahvae.scans.reader import open_scan


def with_phase(magnitude: NDArray[np.floating], size: int) -> NDArray[np.complex64]:
    """k-space (N, N) of a picture, resized, with smooth phase."""
    picture = torch.from_numpy(transform.resize(magnitude, (size, size), anti_aliasing=True)).float()
    phase = smooth_phase(1, (size, size), torch.Generator().manual_seed(0), 0.5)[0]
    return fft2c(torch.polar(picture, phase)).numpy()


@click.command()
@click.argument("scan", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), required=True)
@options.checkpoint
def main(scan: Path, output: Path, checkpoint: str) -> None:
    """Draw reference, zero-filled, reconstruction and error."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    model = loaded.model
    size = model.size
    head = open_scan(scan).read(slice(None))
    head = head[len(head) // 2]
    fourfold, eightfold = (column_mask(size, a, 0.32 / a, "random", "failures") for a in (4, 8))
    cases = (
        ("head, up to 4x4", head, block_mask(4, size).numpy()),
        ("head, up to 16x16", head, block_mask(16, size).numpy()),
        ("head, random columns 8x", head, eightfold),
        ("phantom, random columns 4x", with_phase(data.shepp_logan_phantom(), size), fourfold),
        ("coins, random columns 4x", with_phase(data.coins()[30:290, 60:320] / 255, size), fourfold),
    )
    rows = []
    for name, kspace, mask in cases:
        result = reconstruct_volume(loaded.model, kspace[None], mask, InferenceSettings(), guide=loaded.guide)
        bins = np.stack([kspace, result.zero_filled[0], result.kspace[0]])
        images = ifft2c(torch.from_numpy(bins)).abs().numpy()
        rows.append([*images, 5 * np.abs(images[2] - images[0])])
        zero, ours = (nmses(images[:1], image[None])[0] for image in images[1:])
        click.echo(f"{name:28} NMSE zero-filled {zero:.4f}, reconstruction {ours:.4f}")
    grid_figure(output, rows, ["reference", "zero-filled", "reconstruction", "error x5"])


if __name__ == "__main__":
    main()
