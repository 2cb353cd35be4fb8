"""Kill `train` and `reconstruct` at random moments, run them again, and look for damage.

python -m tools.robustness.kills --kills 200 --json tools/robustness/kills.json

Half of the kills hit `train`, half `reconstruct`; seven in ten are SIGKILL, the others SIGTERM and SIGINT. After each
one every file under a final name must open, and nothing that was finished may be lost; the run is then started again
with --resume or --skip-existing, until it ends. What it ends with must be what a run has that nobody disturbed, bit for
bit. Data and model are made on the spot; runs are forked from a server that has everything imported, so that kills hit
the work and not the imports.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain
from multiprocessing.context import ForkServerContext
from pathlib import Path

import click
import h5py
import nibabel
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from mri_iahvae.files import write_json
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.training.states import states

SIGNALS = (signal.SIGKILL,) * 7 + (signal.SIGTERM,) * 2 + (signal.SIGINT,)
PRELOADED = ("train", "reconstruct", "denoise")
TRAIN = {
    "--preset": "tiny",
    "--stages": "16:8,32:8",
    "--batch": "2",
    "--validate-every": "8",
    "--save-every": "0.05",
    "--device": "cpu",
}
RECONSTRUCT = {"--method": "amortized", "--up-to": "8x8", "--device": "cpu"}
SCANS = 5


def run_tool(arguments: list[str], log: Path) -> None:
    """The command, in a process of its own; what it prints goes to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    from mri_iahvae.cli import main as tool  # noqa: PLC0415 - imported by the server already

    tool.main(arguments, prog_name="mri-iahvae")


def start_server() -> ForkServerContext:
    """Forks processes that have imported what the commands need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            *(f"mri_iahvae.cli.{name}" for name in PRELOADED),
            *(f"mri_iahvae.tasks.{name}" for name in PRELOADED),
            "mri_iahvae.cli.progress",
            "matplotlib.backends.backend_agg",
            "fastmri.evaluate",
        ]
    )
    return context


def make_scans(folder: Path) -> None:
    """Small scans of smooth random objects."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 16
    decay = 1 / (1 + y**2 + x**2)
    for number in range(SCANS):
        parts = rng.normal(size=(2, 3, 32, 32)) * decay
        kspace = (parts[0] + 1j * parts[1]).astype(np.complex64)
        write_scan(folder / f"{number}.h5", kspace)


def digest(path: Path) -> str:
    """Of all that a file holds; of a result without its attributes, which hold the time."""
    if path.suffix != ".h5":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    with h5py.File(path) as file:
        for name in sorted(file):
            total.update(name.encode() + file[name][()].tobytes())
    return total.hexdigest()


def damaged(folder: Path) -> list[str]:
    """Files under final names that do not open, and a model that does not load."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                _open(path)
        except Exception as error:
            found.append(f"{path}: {type(error).__name__} {error}")
    if (folder / "model" / "config.json").exists():
        try:
            load_model(folder / "model")
        except Exception as error:
            found.append(str(error))
    return found


def _open(path: Path) -> None:
    """Read a file as a whole."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            for name in file:
                assert np.isfinite(file[name][()]).all()  # noqa: S101
    elif path.suffix in (".png", ".gif"):
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        for line in path.read_text().split("\n")[:-1]:  # the last may be half a line until the run goes on
            json.loads(line)
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                file.get_tensor(name)
    elif path.name.endswith(".nii.gz"):
        nibabel.nifti1.load(path).get_fdata()
    elif path.suffix != ".part" and path.name != ".lock":
        raise ValueError("a file that nobody expects")


def finished(folder: Path) -> dict[str, str]:
    """What must not be lost, by name: whole results, or the position of the newest state."""
    if newest := states(folder)[-1:]:
        return {"state": f"{newest[0][0]:04d} {newest[0][1]:08d}"}
    return {path.name: digest(path) for path in folder.glob("*.h5")}


def lost(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was there before and is not there any more."""
    state = after.get("state", "") < before.get("state", "")
    return [name for name in before if (state if name == "state" else after.get(name) != before[name])]


def result(folder: Path) -> dict[str, str]:
    """What two runs must have in common: results, or the model and the training state without Lightning's clocks."""
    if not states(folder):
        return {
            path.name: digest(path) for path in folder.iterdir() if not path.name.endswith("_report.json")
        }
    with safe_open(states(folder)[-1][2], "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = {
        name: hashlib.sha256(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, value in tensors.items()
    }
    return {**found, "model": digest(folder / "model" / "model.safetensors")}


class Campaign:
    """Kills of one command.

    Args:
        server: that forks.
        work: folder for all runs.
        command: name, for the report.
        arguments: of a fresh run into a folder, and of one that goes on.
    """

    def __init__(
        self, server: ForkServerContext, work: Path, command: str, arguments: Callable[[Path], list[str]]
    ) -> None:
        self.server, self.work, self.command, self.arguments = server, work, command, arguments
        self.kills: Counter[str] = Counter()
        self.runs = self.leftovers = 0
        self.problems: list[str] = []
        self.folder = work / f"{command}-undisturbed"
        begin = time.monotonic()
        self.run(None)
        self.seconds = time.monotonic() - begin
        self.expected = result(self.folder)

    def run(self, after: tuple[float, signal.Signals] | None) -> bool:
        """Run once, perhaps killed after so many seconds; whether it came to its end."""
        log = self.work / "log"
        log.unlink(missing_ok=True)
        process = self.server.Process(target=run_tool, args=(self.arguments(self.folder), log))
        process.start()
        process.join(after[0] if after else None)
        killed = process.is_alive()
        if killed and after:
            os.kill(process.pid or 0, after[1])
            self.kills[after[1].name] += 1
            process.join(60)
        code = process.exitcode
        if killed and not log.exists():
            return False  # before the command began: Python's own way to end
        allowed = {0, 130, -after[1], 3} if killed and after else {0}  # 0: it was about to end anyway
        if code not in allowed or "Traceback" in log.read_text():
            self.problems.append(f"{self.command}: exit {code}: {log.read_text()}")
        return code == 0

    def go(self, kills: int, rng: np.random.Generator) -> None:
        """Kill so many times."""
        while sum(self.kills.values()) < kills:
            self.folder = self.work / f"{self.command}-{self.runs}"
            done, before = False, dict[str, str]()
            while not done and len(self.problems) < 10:
                left = sum(self.kills.values()) < kills
                chosen = SIGNALS[rng.integers(len(SIGNALS))]
                done = self.run((rng.uniform(0, self.seconds / 2), chosen) if left else None)
                self.problems += damaged(self.folder)
                after = finished(self.folder)
                self.problems += [f"{self.folder}: lost {name}" for name in lost(before, after)]
                before = after
                self.leftovers += len(list(self.folder.rglob("*.part")))
            if result(self.folder) != self.expected:
                self.problems.append(f"{self.folder}: another result than that of an undisturbed run")
            if left_over := list(self.folder.rglob("*.part")):
                self.problems.append(f"{left_over[0]}: left by a run that came to its end")
            self.runs += 1
            shutil.rmtree(self.folder)
            if self.problems:
                return

    def to_json(self) -> dict[str, object]:
        """What happened."""
        return {
            "kills": dict(self.kills),
            "runs brought to their end": self.runs,
            "seconds of an undisturbed run": round(self.seconds, 2),
            "half-written files left, none under a final name": self.leftovers,
            "problems": self.problems,
        }


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--command", type=click.Choice(["train", "reconstruct"]), help="Kill this one alone.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report there too.")
def main(kills: int, command: str | None, seed: int, json_path: Path | None) -> None:
    """Exit code 1 when anything was damaged, lost or different."""
    rng = np.random.default_rng(seed)
    server = start_server()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = work / "data"
        make_scans(data)

        def train(run: Path) -> list[str]:
            resume = ["--resume"] if states(run) else []
            return ["train", str(data), "-o", str(run), *chain(*TRAIN.items()), *resume]

        training = Campaign(server, work, "train", train)
        model = shutil.copytree(training.folder / "model", work / "model")

        def reconstruct(out: Path) -> list[str]:
            options = ["--checkpoint", str(model), "--nifti", "--gif", "--skip-existing"]
            return ["reconstruct", str(data), "-o", str(out), *options, *chain(*RECONSTRUCT.items())]

        campaigns = [training, Campaign(server, work, "reconstruct", reconstruct)]
        campaigns = [campaign for campaign in campaigns if command in (campaign.command, None)]
        for campaign in campaigns:
            campaign.go(kills // len(campaigns), rng)
            shutil.rmtree(work / f"{campaign.command}-undisturbed")
        report = {campaign.command: campaign.to_json() for campaign in campaigns}
    click.echo(json.dumps(report, indent=1))
    if json_path is not None:
        write_json(json_path, report)
    sys.exit(any(campaign.problems for campaign in campaigns))


if __name__ == "__main__":
    main()
