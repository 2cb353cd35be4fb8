"""Time of whole commands, start included, beside the bare start of Python.

python -m benchmarks.speed.commands
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

TOOL = [sys.executable, "-m", "mri_iahvae"]


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


@click.command()
@click.option("--runs", default=5, show_default=True, help="Runs of the short commands; the median counts.")
def main(runs: int) -> None:
    """Print seconds, and the ratio to `python -c pass`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = statistics.median(seconds([sys.executable, "-c", "pass"], folder) for _ in range(runs))
        commands = {
            "--help": (["--help"], runs),
            "reconstruct --help": (["reconstruct", "--help"], runs),
            "example scan.h5": (["example", "scan.h5", "--overwrite"], 1),
            "reconstruct scan.h5 --up-to 8x8 (24 slices)": (["reconstruct", "scan.h5", "--up-to", "8x8"], 1),
            "reconstruct scan.h5 --up-to 64x64 (24 slices)": (
                ["reconstruct", "scan.h5", "--up-to", "64x64"],
                1,
            ),
            "denoise scan.h5 (24 slices)": (["denoise", "scan.h5"], 1),
        }
        click.echo(f"{'python -c pass':48} {bare:7.3f} s")
        for label, (arguments, count) in commands.items():
            taken = statistics.median(seconds([*TOOL, *arguments], folder) for _ in range(count))
            click.echo(f"{label:48} {taken:7.3f} s  {taken / bare:7.1f} x")


if __name__ == "__main__":
    main()
