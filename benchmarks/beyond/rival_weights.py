"""The weights of the methods that `--compare` puts beside a reconstruction, as multiples of the noise level.

    python -m benchmarks.beyond.rival_weights data/tuning --every 4 --json benchmarks/beyond/rival_weights.json

Needs the extra `bench`. Subjects of which no number is reported, undersampled and with noise added, are
reconstructed as `mri-iahvae reconstruct --compare` does, with the default weights and others around them. NMSE is the
mean over slices, each scored as a volume of its own against its noise-free reference. The eight coils are those of
`benchmarks.quality.coils`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import coils
from benchmarks.shared import options
from benchmarks.shared.tasks import Task, nmses
from mri_iahvae.files import write_json
from mri_iahvae.inference.rivals.registry import RIVALS
from mri_iahvae.kspace.masks import DrawnMask
from mri_iahvae.pipeline.comparison import Comparison
from mri_iahvae.scans.reader import open_scan

GRID = (0.25, 0.5, 1, 2, 4)
"""Times the default multiple of sigma, or of its square."""
TASKS = (  # the files have noise of 0.01 of the RMS already
    Task("random columns 4x, noise 0.01", "hard", columns=(4, 0.08, "random")),
    Task("random columns 4x, noise 0.05", "hard", columns=(4, 0.08, "random"), noise=0.05),
    Task("2-D 6x, noise 0.01", "hard", density=6.0),
    Task("2-D 6x, noise 0.05", "hard", density=6.0, noise=0.05),
)
COIL_MASKS = coils.MASKS[::2]
"""Random columns 4x and 8x."""


@dataclass(frozen=True)
class Measured:
    """Slices of one file: truth (n, H, W), k-space (n, C, H, W), mask (H, W), noise level (n,)."""

    truth: NDArray[np.float32]
    kspace: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    sigma: NDArray[np.floating]


def single_coil(data: Path, task: Task, every: int) -> Iterator[Measured]:
    """Every n-th slice of each file."""
    for path in sorted(data.glob("*.h5")):
        scan = open_scan(path)
        kspace, mask, added = task.measure(path.name, scan.read(slice(None)))
        sigma = np.hypot(added, 0.0 if scan.noise_sigma is None else scan.noise_sigma)
        chosen = slice(None, None, every)
        truth = scan.read_reference(slice(None))
        yield Measured(truth[chosen], kspace[chosen, None], mask, sigma[chosen])


def eight_coils(data: Path, sampling: DrawnMask, every: int) -> Iterator[Measured]:
    """Of the first and the last slice of each file every n-th."""
    for path in sorted(data.glob("*.h5")):
        one, chosen = coils.measure(path, sampling), slice(None, None, every)
        sigma = coils.NOISE * np.sqrt(np.mean(one.truth**2, axis=(1, 2)))
        mask = one.mask.expand(one.truth.shape[1:]).numpy()
        yield Measured(one.truth[chosen], one.kspace.numpy()[chosen], mask, sigma[chosen])


def errors(measured: list[Measured]) -> dict[str, dict[str, float]]:
    """NMSE by method and multiple."""
    several = measured[0].kspace.shape[1]
    found: dict[str, dict[str, float]] = {}
    for name, rival in RIVALS.items():
        if (default := rival.multiple(several)) is None:
            continue
        for factor in GRID:
            method = Comparison({name: factor * default})
            scores: list[float] = []
            for one in measured:
                scores += nmses(one.truth, method.magnitudes(one.kspace, one.mask, one.sigma)[name])
            found.setdefault(name, {})[f"{factor * default:g}"] = float(np.mean(scores))
        best, usual = min(found[name], key=found[name].__getitem__), found[name][f"{default:g}"]
        loss = usual / found[name][best] - 1
        click.echo(f"  {name:8} best at {best:5} {found[name][best]:.5f}  default {usual:.5f} ({loss:+.1%})")
    return found


@click.command()
@options.data
@options.required_output
@click.option("--every", default=1, show_default=True, help="Take every n-th slice of each file.")
def main(data: Path, output: Path, every: int) -> None:
    """Measure NMSE by weight on the fully sampled fastMRI-schema files in DATA."""
    cases = {f"8 coils, {mask}": list(eight_coils(data, mask, every)) for mask in COIL_MASKS}
    cases |= {task.name: list(single_coil(data, task, every)) for task in TASKS}
    record = {}
    for name, measured in cases.items():
        click.echo(f"{name}, {sum(len(one.truth) for one in measured)} slices")
        record[name] = errors(measured)
        write_json(output, record)


if __name__ == "__main__":
    main()
