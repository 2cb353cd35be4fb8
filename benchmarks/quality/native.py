"""Quality at native sizes: zero-filled and ours on files of fastMRI's schema, as `reconstruct` reports it.

    python -m benchmarks.quality.native mr_slices_256_val.npz --json benchmarks/quality/native.json

DATA is an npz of magnitude slices (`images` (n, h, w), `subject` (n,)), put into files of five sizes by
`shared/native_files.py`, or a folder of fully sampled files with references, such as fastMRI's own `singlecoil_val`.
A score is that of a volume as fastMRI defines it, at the size of the reference; a row is the mean over the volumes of
a size.
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.quality.tables import markdown
from benchmarks.shared import options
from benchmarks.shared.native_files import LAYOUTS, write_native
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.pipeline.devices import find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.scans.listing import scan_files
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import Sampling

TASKS = {
    "random columns 4x": Request(sampling=Sampling(acceleration=4)),
    "random columns 8x": Request(sampling=Sampling(acceleration=8)),
    "up to 32x32": Request(up_to=32),
}
DENOISE = {"denoise": Request("denoise")}

COLUMNS = {
    "measured": ".1%",
    "completed": ".1%",
    "zero-filled nmse": ".4f",
    "nmse": ".4f",
    "zero-filled ssim": ".4f",
    "ssim": ".4f",
}

Row = dict[str, float]


def generate(archive: Path, folder: Path, count: int, noise: float) -> None:
    """A file per size and subject, of slices spread over those that the archive has."""
    with np.load(archive) as stored:
        images, subjects = stored["images"], stored["subject"]
    for subject in dict.fromkeys(subjects.tolist()):
        own = np.flatnonzero(subjects == subject)
        inner = np.linspace(0, len(own) - 1, count + 2).round().astype(int)[1:-1]  # the ends show little
        chosen = own[np.unique(inner)]
        for name, layout in LAYOUTS.items():
            write_native(folder / f"{subject}_{name}.h5", layout, images[chosen], noise=noise)


def measure(
    loaded: LoadedModel, files: list[Path], settings: InferenceSettings, requests: Mapping[str, Request]
) -> dict[str, dict[str, Row]]:
    """Mean scores by size and task."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            for task, request in requests.items():
                report = run_file(loaded, path, Path(folder) / path.name, request, settings)
                if not report["scores"]:
                    raise click.ClickException(f"{path}: expected a reference; leave the file out")
                for warning in report["warnings"]:
                    click.echo(f"{path.name}, {task}: {warning}", err=True)
                scan = open_scan(path)
                found[f"{scan.height}x{scan.width}"][task].append(_row(report))
    return {
        size: {
            task: {key: float(np.mean([r[key] for r in rows])) for key in rows[0]}
            for task, rows in tasks.items()
        }
        for size, tasks in found.items()
    }


def table(results: Mapping[str, Mapping[str, Row]]) -> str:
    """Markdown."""
    lines = [["k-space", "task", *COLUMNS], ["---"] * (len(COLUMNS) + 2)]
    for size, tasks in results.items():
        for task, row in tasks.items():
            lines.append([size, task, *(format(row[name], form) for name, form in COLUMNS.items())])
    return markdown(lines)


def _row(report: dict) -> Row:
    zero_filled, ours = report["scores"]["zero-filled"], report["scores"]["reconstruction"]
    return {
        **ours,
        **{f"zero-filled {key}": value for key, value in zero_filled.items()},
        "measured": report["fraction_measured"],
        "completed": report["fraction_completed"],
    }


@click.command()
@options.data
@options.checkpoint
@options.output
@click.option("--slices", default=3, show_default=True, help="Per subject of an npz.")
@click.option("--noise", default=0.01, show_default=True, help="Of generated files, over their RMS.")
@click.option("--denoise", is_flag=True, help="Denoise, instead of undersampling.")
def main(
    data: Path, checkpoint: str, output: Path | None, slices: int, noise: float, *, denoise: bool
) -> None:
    """Score files at their native size and print the table."""
    loaded = LoadedModel.load(checkpoint, find_device("auto"))
    with tempfile.TemporaryDirectory() as name:
        folder = data
        if data.is_file():
            folder = Path(name)
            generate(data, folder, slices, noise)
        settings = InferenceSettings(data_consistency="soft" if denoise else "hard")
        results = measure(loaded, scan_files([folder]), settings, DENOISE if denoise else TASKS)
    if output is not None:
        facts = {"model_sha256": loaded.sha256, "torch": str(torch.__version__), "results": results}
        write_json(output, facts)
    click.echo(table(results))


if __name__ == "__main__":
    main()
