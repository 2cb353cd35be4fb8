"""Calibrate the intervals of a checkpoint on held-back slices of its guide: a few minutes of one core.

    python -m benchmarks.beyond.calibrate_intervals TRAIN.npz pretrained/small

TRAIN holds magnitude images (`images`, `subject`), as `mri-iahvae simulate` reads them; of these the four subjects that
training held back are taken. A training (`mri-iahvae train`) ends with the same for its own held-out slices.
"""

from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.neighbours.coarse_density import HELD_BACK, Magnitudes
from mri_iahvae.training.intervals import calibrate_intervals


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
def main(train: Path, checkpoint: Path) -> None:
    """Write intervals.json into the folder CHECKPOINT, from the held-back subjects in TRAIN."""
    with np.load(train) as archive:
        images = archive["images"][np.isin(archive["subject"], HELD_BACK)]
    click.echo(calibrate_intervals(checkpoint, Magnitudes(images), torch.device("cpu")))


if __name__ == "__main__":
    main()
