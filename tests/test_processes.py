"""Two processes that train on the CPU, as a user starts them: the same numbers, and an end when one fails."""

import json
import math
import signal
import time

import numpy as np
import pytest
import torch

from mri_iahvae.cli import main
from mri_iahvae.errors import UsageError
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.processes import Processes, joined
from mri_iahvae.training.states import states
from tests.commands import run as command

CPU = torch.device("cpu")
TRAIN = ("--preset", "tiny", "--batch", 4, "--rate", 0.02, "--validate-every", 5, "--device", "cpu")
TWO = ("--devices", 2)

# The command line in a script, which Lightning starts again for the second process; `change` sees the package before.
SCRIPT = """
import os
import signal
from mri_iahvae.cli import main
from mri_iahvae.errors import IahvaeError
second = os.environ.get("LOCAL_RANK") == "1"
{change}
main(prog_name="mri-iahvae")
"""

IN_THE_THIRD_STEP = """
from mri_iahvae.training.module import StageModule
usual = StageModule.training_step
def training_step(self, *batch):
    loss = usual(self, *batch)
    if second and self.global_step == 2:
        {what}
    return loss
StageModule.training_step = training_step
"""

TELL_THE_WEIGHTS = """
from pathlib import Path
def on_train_end(self):
    values = [float(value.double().square().sum()) for value in self.state_dict().values()]
    Path(os.environ["WEIGHTS"], os.environ.get("LOCAL_RANK", "0")).write_text(repr(values))
StageModule.on_train_end = on_train_end
"""


@pytest.fixture
def data(make_folder):
    """Folder with four scans of three slices: the held-out ones do not divide by two."""
    return make_folder("data", 4, slices=3)


@pytest.fixture
def train(start, tmp_path):
    """Starts training, which becomes two processes; `change` is Python that runs in each beforehand."""

    def begin(*arguments, change="", **environment):
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(change=change))
        return start(("train", *arguments), {"OMP_NUM_THREADS": "1", **environment}, [script])

    return begin


def end(process):
    """Exit code, stdout and stderr."""
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr


def log(run):
    path = run / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_two_train_as_one_does_and_one_goes_on_alone(data, train, tmp_path):
    """Growth included; interrupted by a signal to the first process only, which both must follow at the same step."""
    shared, straight = tmp_path / "shared", tmp_path / "straight"
    options = (*TRAIN, "--stages", "16:5,32:30")
    process = train(data, "-o", shared, *options, *TWO)
    while not any(entry["stage"] == 1 and entry["step"] >= 10 for entry in log(shared)):
        assert process.poll() is None, end(process)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, stdout, stderr = end(process)
    assert (code, stdout) == (130, ""), stderr
    stopped = states(shared)[-1][1]
    assert stderr.splitlines()[-1].startswith(f"Interrupted at step {stopped + 5} of 35 in {shared}; ")
    assert stderr.count("Interrupted") == 1
    assert stderr.count(f"{shared}: starts, 35 steps in all; ") == 1
    assert "Traceback" not in stderr
    assert 10 <= stopped < 30
    command(main, "train", "-o", shared, "--resume", "--device", "cpu")
    command(main, "train", data, "-o", straight, *options)

    numbers = {}
    for run in (shared, straight):
        for entry in log(run):
            place = entry["kind"], entry["stage"], entry["step"]
            kinds = ("loss", "elbo_loss", "gradient_norm", "nmse", "kl", "error", "completion")
            found = np.hstack([entry[key] for key in kinds if key in entry])
            numbers.setdefault(place, []).append(found)
    assert sum(kind == "validation" for kind, _, _ in numbers) == 7
    numbers.pop(("validation", 1, stopped), None)  # a run that is asked to stop does not validate any more
    assert all(len(both) == 2 for both in numbers.values())  # the second process logs nothing
    for both in numbers.values():
        np.testing.assert_allclose(*both, rtol=1e-3, atol=1e-4)
    losses = [numbers["validation", 1, step][1][0] for step in (5, 30)]
    assert losses[1] < 0.9 * losses[0]  # it went somewhere
    models = [load_model(run / "model")[0] for run in (shared, straight)]
    weights, others = (torch.nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert (weights - others).norm() < 0.01 * others.norm()


def test_what_one_skips_both_skip(data, train, tmp_path):
    change = IN_THE_THIRD_STEP.format(what="loss = loss * float('nan')") + TELL_THE_WEIGHTS
    options = (*TRAIN, "--grid", 16, "--stages", "16:10")
    run = tmp_path / "run"
    process = train(data, "-o", run, *options, *TWO, change=change, WEIGHTS=str(tmp_path))
    code, stdout, stderr = end(process)
    assert (code, stdout) == (0, f"{run / 'model'}\n"), stderr
    assert [entry["skipped"] for entry in log(run) if entry["kind"] == "step"] == [1]
    first, second = ((tmp_path / name).read_text() for name in "01")
    assert first == second  # weights, averages and the count, to the last bit
    assert all(math.isfinite(value) for value in json.loads(first))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise IahvaeError('slice 7 is upside down')", ["Error: slice 7 is upside down"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", ["another of the 2 processes", "process of this run died"]),
    ],
    ids=["fails", "is killed"],
)
def test_training_ends_when_one(data, train, tmp_path, what, said):
    run = tmp_path / "run"
    options = (*TRAIN, "--grid", 16, "--stages", "16:1000")
    change = IN_THE_THIRD_STEP.format(what=what)
    code, stdout, stderr = end(train(data, "-o", run, *options, *TWO, change=change))
    assert (code != 0, stdout) == (True, ""), stderr
    assert any(text in stderr for text in said), stderr
    assert "Traceback" not in stderr
    assert states(run)  # to resume from


@pytest.mark.parametrize(("tasks", "nodes"), [(4, 2), (3, 1)])
def test_other_tasks_than_asked_for_are_refused(monkeypatch, tasks, nodes):
    job = {"JOB_ID": 1, "JOB_NAME": "scans", "NODELIST": "127.0.0.1", "NODEID": 0, "PROCID": 0, "LOCALID": 0}
    job |= {"NTASKS": tasks, "NTASKS_PER_NODE": tasks // nodes, "NNODES": nodes}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(UsageError, match="--devices 2 --num-nodes 1: SLURM"), joined(Processes(2), CPU):
        pass


def test_devices_that_are_not_there():
    with (
        pytest.raises(UsageError, match="kind alone, such as cuda"),
        joined(Processes(2), torch.device("cuda:1")),
    ):
        pass
    devices = torch.cuda.device_count() + 1
    with pytest.raises(UsageError, match="at most"), joined(Processes(devices, 2), torch.device("cuda")):
        pass


def test_a_batch_that_cannot_be_shared(data, tmp_path):
    result = command(main, "train", data, "-o", tmp_path / "run", *TRAIN, "--devices", 3, code=2)
    assert result.stderr.startswith("Error: --batch 4: expected a multiple of 6")
    assert not (tmp_path / "run").exists()
