"""`mri-iahvae train`, as a user runs it: two stages of a few steps on simulated scans."""

import json
import re
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.training.states import states

OPTIONS = [
    "--preset",
    "tiny",
    "--stages",
    "16:2,32:3",
    "--batch",
    "2",
    "--validate-every",
    "2",
    "--device",
    "cpu",
]


@pytest.fixture
def data(make_folder):
    return make_folder("data", 4)


def train(*args):
    return CliRunner().invoke(main, ["train", *map(str, args)])


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if line.endswith("}")]


def refused(result, *words, code=2):
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_a_run_its_resumption_and_its_model(data, make_scan, tmp_path):
    run = tmp_path / "run"
    more = ("--precision", "bfloat16", "--domain", "ellipses; one contrast", "--half")
    result = train(data, "-o", run, *OPTIONS, *more)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'model'}\n"
    assert result.stderr.startswith(f"{run}: starts, 5 steps in all; 6 slices to train on, 2 held out\n")
    assert "\x1b" not in result.stderr  # plain lines for a log
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert warnings == [
        f"Warning: {data}: 2 slices of 8 held out, over a fifth: give more files",
        f"Warning: {data}: 2 slices held out: what is measured on so few means little, give more files",
    ]
    names = {".lock", "run.json", "log.jsonl", "model", "pictures", "states"}
    assert {path.name for path in run.iterdir()} == names
    assert {entry["grid"] for entry in log(run)} == {16, 32}

    model, digest = load_model(run / "model")
    assert model.size == 32
    assert load_domain(run / "model").description == "ellipses; one contrast"
    training = json.loads((run / "model" / "config.json").read_text())["training"]
    assert (training["finished"], training["training_files"], training["data"]) == (True, 3, "data")
    assert (training["settings"]["precision"], training["settings"]["half"]) == ("bfloat16", True)

    again = train("-o", run, "--resume")  # a finished run stays what it is
    assert again.stderr.startswith(f"{run}: is finished already, ")
    assert (again.exit_code, again.stdout) == (0, result.stdout), again.output
    assert load_model(run / "model")[1] == digest
    refused(train(data, "-o", run, *OPTIONS), f"{run}: ", "--resume")
    other = train("-o", run, *OPTIONS, "--resume", "--seed", 1, "--precision", "float32")
    refused(other, "--precision was bfloat16, found float32, --seed was 0, found 1")

    # The finished checkpoint reconstructs, and trains on.
    options = ("--method", "amortized", "--up-to", "8x8", "--json", "-o", tmp_path / "out")
    command = ("reconstruct", make_scan(), "--checkpoint", run / "model", *options)
    used = CliRunner().invoke(main, [*map(str, command)])
    assert used.exit_code == 0, used.output
    assert json.loads(used.stdout)["files"][0]["model_sha256"] == digest
    more = ("--stages", "32:1@4-8", "--batch", 2, "--device", "cpu")
    assert train(data, "-o", tmp_path / "more", "--from", run / "model", *more).exit_code == 0
    training = json.loads((tmp_path / "more" / "model" / "config.json").read_text())["training"]
    assert training["start_sha256"] == digest


def test_without_a_folder_every_run_makes_its_own(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--preset", "tiny", "--stages", "32:1", "--batch", 2, "--device", "cpu")
    folders = []
    for _ in range(2):
        result = train(Path("data"), *options)
        assert result.exit_code == 0, result.output
        folders.append(Path(result.stdout.strip()).parent)
        assert result.stderr.startswith(f"{folders[-1]}: starts, ")
    assert len(set(folders)) == 2
    assert all(re.fullmatch(r"runs/data-\d{4}-\d\d-\d\d-\d{4}(-2)?", str(folder)) for folder in folders)
    monkeypatch.chdir(tmp_path.parent)  # the record knows where the data are, wherever it is read
    assert train("-o", tmp_path / folders[0], "--resume").exit_code == 0


def test_data_that_have_moved(data, make_scan, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    assert train(data, "-o", run, "--preset", "tiny", "--stages", "32:1", "--device", "cpu").exit_code == 0
    data.rename(moved)
    refused(train("-o", run, "--resume"), f"{data}: expected a folder")
    assert train(moved, "-o", run, "--resume").exit_code == 0
    make_scan("moved/5.h5", slices=3)
    refused(train(moved, "-o", run, "--resume"), f"{moved}: ", "found 8 slices and 3 held out")


def test_interrupted_and_resumed_is_as_never_interrupted(data, start, tmp_path):
    run, straight = tmp_path / "run", tmp_path / "straight"
    options = ("--preset", "tiny", "--stages", "16:2,32:40", "--batch", "2", "--device", "cpu")
    process = start(("train", data, "-o", run, *options))
    while not (run / "log.jsonl").exists() or not any(entry["grid"] == 32 for entry in log(run)):
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert stdout == ""
    _, step, _ = states(run)[-1]
    goes_on = f"Interrupted at step {2 + step} of 42 in {run}; `mri-iahvae train -o {run} --resume` goes on"
    assert stderr.splitlines()[-1] == goes_on
    assert "Traceback" not in stderr
    assert 10 <= step < 40
    assert not list(run.rglob("*.part"))

    resumed = train("-o", run, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stderr.startswith(f"{run}: goes on from step {2 + step}, 42 steps in all; ")
    assert train(data, "-o", straight, *options).exit_code == 0
    weights = [load_model(folder / "model")[0].state_dict() for folder in (run, straight)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stages", "32"], ["--stages 32", "GRID:STEPS"]),
        (["--stages", "16:10"], ["--stages 16:10", "32", "or give --grid 16"]),
        (["--preset", "huge"], ["preset huge", "tiny"]),
        (["--grid", "64"], ["--grid 64", "16, 32"]),
        (["--from", "small"], ["--from small", "128", "32"]),
        (["--from", "nowhere"], ["--from nowhere"]),
        (["--rate", "nan"], ["--rate"]),
        (["--sigma", "inf"], ["--sigma"]),
        (["--resume"], ["--resume", "no run"]),
    ],
)
def test_impossible_options(data, tmp_path, options, words):
    run = tmp_path / "run"
    result = train(data, "-o", run, "--preset", "tiny", *options)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert all(word in result.stderr.splitlines()[-1] for word in ("Error: ", *words))
    assert not run.exists()


def test_data_and_folders_that_cannot_be_used(data, tmp_path):
    """Which data cannot be used is tried in `tests/tasks`."""
    refused(train(), "DATA: expected a folder")
    refused(train("--resume"), "--resume: expected the folder of the run", "-o RUN")
    refused(train(data, "-o", data / "0.h5" / "run", *OPTIONS), "cannot be made", code=1)
    with h5py.File(data / "2.h5", "r+") as file:
        file["mask"] = np.arange(32) % 2
    run = tmp_path / "run"
    refused(train(data, "-o", run, *OPTIONS), f"Error: {data}", "measured as a whole", code=1)
    missing = train(tmp_path / "nowhere", "-o", run, *OPTIONS)
    assert (missing.exit_code, "nowhere' does not exist" in missing.stderr) == (2, True)
    assert not run.exists()


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_units_do_not_matter(data, tmp_path, unit):
    """The same scans in other units, down to 1e-17 and up to 1e7: the same losses up to rounding."""
    losses = []
    for name in ("as they are", "in other units"):
        try:
            assert train(data, "-o", tmp_path / name, *OPTIONS, "--deterministic", "--seed", 7).exit_code == 0
        finally:
            torch.use_deterministic_algorithms(mode=False)
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert {"version", "python", "numpy", "torch", "lightning", "data", "model"} <= set(record)
        assert (record["deterministic"], record["settings"]["seed"]) == (True, 7)
        losses.append([entry["loss"] for entry in log(tmp_path / name) if entry["kind"] == "step"])
        for path in data.iterdir():
            with h5py.File(path, "r+") as file:
                file["kspace"][...] = (file["kspace"][()].astype(np.complex128) * unit).astype(np.complex64)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
