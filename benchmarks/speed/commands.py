"""Time of whole commands, start included, beside the bare start of Python.

python -m benchmarks.speed.commands
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOL = [sys.executable, "-m", "mri_iahvae"]


COMMANDS = {
    "--help": 5,
    "reconstruct --help": 5,
    "example scan.h5": 1,
    "reconstruct scan.h5 --up-to 8x8": 1,
    "reconstruct scan.h5 --up-to 64x64": 1,
    "denoise scan.h5": 1,
}
"""Runs of each; the example has 24 slices."""


def seconds(command: list[str], folder: Path, runs: int) -> float:
    """Median wall time."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        bare = seconds([sys.executable, "-c", "pass"], Path(name), 5)
        print(f"{'python -c pass':34} {bare:7.3f} s")
        for arguments, count in COMMANDS.items():
            taken = seconds([*TOOL, *arguments.split()], Path(name), count)
            print(f"{arguments:34} {taken:7.3f} s  {taken / bare:7.1f} x")
