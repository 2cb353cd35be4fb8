"""Peak memory of `reconstruct` on volumes of native size, beyond what Python with PyTorch loaded takes.

    python -m benchmarks.speed.memory --json memory.json

Each run has a process of its own, and random columns 4x. Memory does not depend on what the image shows, so the file
shows a square. Volumes of different lengths, side by side, show whether memory grows with the number of slices.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.shared import options
from benchmarks.shared.native_files import LAYOUTS, write_native
from benchmarks.speed.peak_memory import peak_memory
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings

LAYOUT = "640x368"
_MIB = 2**20


def reconstruct(path: Path, checkpoint: str) -> None:
    """The whole task by default, from the checkpoint to the written result."""
    from mri_iahvae.pipeline.loaded import LoadedModel  # noqa: PLC0415 - what it imports counts, too
    from mri_iahvae.pipeline.stream import Request, run_file  # noqa: PLC0415
    from mri_iahvae.scans.undersampling import Sampling  # noqa: PLC0415

    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    request = Request(sampling=Sampling(acceleration=4))
    run_file(loaded, path, path.with_name("result.h5"), request, InferenceSettings())


@click.command()
@options.checkpoint
@click.option("--slices", "counts", type=int, multiple=True, default=(10, 40, 80), show_default=True)
@click.option("--coils", type=int, help="Several coils; single-coil without.")
@options.output
def main(checkpoint: str, counts: tuple[int, ...], coils: int | None, output: Path | None) -> None:
    """Print MiB for each number of slices."""
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.h5"
            write_native(path, LAYOUTS[LAYOUT], np.ones((count, 200, 200), np.float32), coils=coils)
            taken = peak_memory(reconstruct, path, checkpoint, device=torch.device("cpu")) / _MIB
        found[count] = round(taken, 1)
        click.echo(f"{count:4} slices of {LAYOUT}, {coils or 1} coils: {taken:7.1f} MiB")
    if output is not None:
        facts = {"layout": LAYOUT, "coils": coils, "torch": str(torch.__version__), "mib": found}
        write_json(output, facts)


if __name__ == "__main__":
    main()
