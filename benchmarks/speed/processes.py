"""What several processes gain in `train`: slices per second, and CPU time per slice.

python -m benchmarks.speed.processes data/singlecoil --steps 20

Wall time says something only where every process has a core of its own and nothing else runs; CPU time says what
sharing costs (communication, random numbers that every process draws for the whole batch) on a busy machine too.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click

TOOL = [sys.executable, "-m", "mri_iahvae"]


def run(arguments: list[str]) -> float:
    """CPU seconds of a command, the processes that it starts included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*TOOL, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train(data: Path, folder: Path, devices: int, preset: str, steps: int, batch: int) -> tuple[float, float]:
    """Slices per second of the last steps, and CPU seconds per slice beyond those of a run of ten steps."""
    taken, last = [], 0.0
    for count in (10, 10 + steps):
        out = folder / f"train-{devices}-{count}"
        options = ["--preset", preset, "--grid", "32", "--stages", f"32:{count}", "--batch", str(batch)]
        options += ["--device", "cpu", "--devices", str(devices), "--save-every", "1e6"]
        taken.append(run(["train", str(data), "-o", str(out), *options]))
        entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        last = [entry["slices_per_second"] for entry in entries if entry["kind"] == "step"][-1]
    return last, (taken[1] - taken[0]) / (steps * batch)


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--devices", default=2, show_default=True, help="Processes, beside one.")
@click.option("--preset", default="small", show_default=True, help="Model to train, at 32 x 32.")
@click.option("--steps", default=20, show_default=True, help="Steps that count.")
@click.option("--batch", default=16, show_default=True, help="Slices per step.")
def main(data: Path, devices: int, preset: str, steps: int, batch: int) -> None:
    """Print both, for one process and for several, and the efficiency."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {count: train(data, folder, count, preset, steps, batch) for count in (1, devices)}
        for count, (speed, cpu) in found.items():
            click.echo(f"train, {count} processes: {speed:7.2f} slices/s, {cpu:.4f} CPU s per slice")
        (speed, cpu), (speeds, cpus) = found[1], found[devices]
        click.echo(f"  efficiency: {speeds / speed / devices:.2f} by wall time, {cpu / cpus:.2f} by CPU time")


if __name__ == "__main__":
    main()
