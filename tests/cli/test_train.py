"""`mri-iahvae train`, as a user runs it: two stages of a few steps on simulated scans."""

import json
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.training.states import states

OPTIONS = (
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
)


@pytest.fixture
def data(make_scan, tmp_path):
    """Folder with four small scans."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        make_scan(f"data/{number}.h5", noise=0.01 * (number + 1))
    return folder


def train(*args):
    return CliRunner().invoke(main, ["train", *map(str, args)])


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if line.endswith("}")]


def test_a_run_its_resumption_and_its_model(data, make_scan, tmp_path):
    run = tmp_path / "run"
    result = train(data, "-o", run, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'model'}\n"
    assert result.stderr.startswith(f"{run}: starts, 5 steps in all; 6 slices to train on, 2 held out\n")
    assert "grid 16 step 2/2: loss" in result.stderr
    assert "grid 32 step 3/3: loss" in result.stderr
    assert "validation ELBO loss" in result.stderr
    assert "\x1b" not in result.stderr  # plain lines for a log
    assert "Warning" not in result.stderr
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "run.json",
        "log.jsonl",
        "model",
        "pictures",
        "states",
    }
    assert {entry["grid"] for entry in log(run)} == {16, 32}
    assert not list(run.rglob("*.part"))

    model, digest = load_model(run / "model")
    assert model.size == 32
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["training"]["finished"]
    assert config["training"]["training_files"] == 3

    again = train(data, "-o", run, *OPTIONS, "--resume")  # a finished run stays what it is
    assert again.stderr.startswith(f"{run}: is finished already, ")
    assert (again.exit_code, again.stdout) == (0, result.stdout), again.output
    assert load_model(run / "model")[1] == digest

    # The finished checkpoint reconstructs.
    args = [
        "reconstruct",
        make_scan(),
        "--checkpoint",
        run / "model",
        "-o",
        tmp_path / "out",
        "--steps",
        2,
        "--json",
    ]
    used = CliRunner().invoke(main, [*map(str, args), "--up-to", "8x8"])
    assert used.exit_code == 0, used.output
    assert json.loads(used.stdout)["files"][0]["model_sha256"] == digest

    for options, word in (
        (OPTIONS, "--resume"),
        ((*OPTIONS, "--resume", "--seed", "1"), "--seed was 0, found 1"),
    ):
        refused = train(data, "-o", run, *options)
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"Error: {run}: ")
        assert refused.stderr.count("\n") == 1
        assert word in refused.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--encoder", "bottom-up"),
        ("--heads", "spectral"),
        ("--encoder", "bottom-up", "--decoder", "ordinary"),
    ],
    ids=lambda options: options[-1],
)
def test_a_comparator_is_trained_and_reconstructs(data, make_scan, tmp_path, options):
    run, scan = tmp_path / "run", make_scan()
    grid = ("--preset", "tiny", "--grid", 16, "--stages", "16:2", "--batch", 2, "--device", "cpu")
    result = train(data, "-o", run, *grid, *options)
    assert result.exit_code == 0, result.output
    model, _ = load_model(run / "model")
    assert model.size == 16
    chosen = {
        "--encoder": model.config.encoder,
        "--heads": model.config.heads,
        "--decoder": model.config.decoder,
    }
    assert all(chosen[name] == value for name, value in zip(options[::2], options[1::2], strict=True))

    def reconstruct(*more):
        args = [
            "reconstruct",
            scan,
            "--checkpoint",
            run / "model",
            "--up-to",
            "8x8",
            "-o",
            tmp_path / "out",
            *more,
        ]
        return CliRunner().invoke(main, [*map(str, args), "--steps", "2"])

    used = reconstruct("--samples", 2)
    assert used.exit_code == 0, used.output
    if "ordinary" in options:
        refused = (
            reconstruct("--method", "paper", "--overwrite") if False else reconstruct("--method", "paper")
        )
        assert refused.exit_code != 0
        assert "not separable" in refused.stderr


def test_precision_and_domain_are_stored(data, tmp_path):
    run = tmp_path / "run"
    result = train(data, "-o", run, *OPTIONS, "--precision", "bfloat16", "--domain", "ellipses; one contrast")
    assert result.exit_code == 0, result.output
    assert load_domain(run / "model").description == "ellipses; one contrast"
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["training"]["settings"]["precision"] == "bfloat16"
    refused = train(data, "-o", run, *OPTIONS, "--resume")
    assert refused.exit_code == 2
    assert "--precision was bfloat16, found float32" in refused.stderr
    assert train(data, "-o", run, *OPTIONS, "--precision", "bfloat16", "--resume").exit_code == 0


def test_interrupted_and_resumed_is_as_never_interrupted(data, tmp_path):
    run, straight = tmp_path / "run", tmp_path / "straight"
    options = ("--preset", "tiny", "--stages", "16:2,32:40", "--batch", "2", "--device", "cpu")
    command = [sys.executable, "-m", "mri_iahvae", "train", str(data), "-o", str(run), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (run / "log.jsonl").exists() or not any(entry["grid"] == 32 for entry in log(run)):
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert stdout == ""
    stage, step, _ = states(run)[-1]
    assert stage == 1
    goes_on = f"Interrupted at step {2 + step} of 42 in {run}; `--resume` goes on"
    assert stderr.splitlines()[-1] == goes_on
    assert "Traceback" not in stderr
    assert 10 <= step < 40
    assert not list(run.rglob("*.part"))

    resumed = train(data, "-o", run, *options, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stderr.startswith(f"{run}: goes on from step {2 + step}, 42 steps in all; ")
    assert "grid 32 step 40/40" in resumed.stderr
    assert train(data, "-o", straight, *options).exit_code == 0
    weights = [load_model(folder / "model")[0].state_dict() for folder in (run, straight)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stages", "32"], ["--stages 32", "GRID:STEPS"]),
        (["--stages", "32:many"], ["--stages 32:many"]),
        (["--stages", "16:10"], ["--stages 16:10", "32", "or give --grid 16"]),
        (["--stages", "32:10,16:10"], ["--stages 32:10,16:10"]),
        (["--stages", "24:10,32:10"], ["--stages 24:10,32:10"]),
        (["--stages", "32:0"], ["--stages 32:0"]),
        (["--preset", "huge"], ["preset huge", "tiny"]),
        (["--grid", "64"], ["--grid 64", "16, 32"]),
        (["--decoder", "ordinary"], ["--decoder ordinary", "--encoder bottom-up"]),
        (["--encoder", "bottom-up", "--stages", "16:1,32:1"], ["--stages", "cannot grow", "32:2000"]),
        (["--device", "abacus"], ["--device abacus"]),
        (["--rate", 0], ["--rate"]),
        (["--rate", "nan"], ["--rate"]),
        (["--sigma", "inf"], ["--sigma"]),
        (["--batch", 0], ["--batch"]),
        (["--precision", "float16"], ["--precision", "bfloat16"]),
        (["--resume"], ["--resume", "no run"]),
    ],
)
def test_impossible_options(data, tmp_path, options, words):
    run = tmp_path / "run"
    result = train(data, "-o", run, "--preset", "tiny", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert all(word in line for word in words)
    assert not run.exists()


def spoil(data, case):
    if case == "no folder":
        shutil.rmtree(data)
    elif case == "empty":
        for path in data.iterdir():
            path.unlink()
    elif case == "one file":
        for path in sorted(data.iterdir())[1:]:
            path.unlink()
    else:
        with h5py.File(data / "2.h5", "r+") as file:
            kspace = file["kspace"][()]
            if case == "mask":
                file["mask"] = np.arange(32) % 2
            else:
                del file["kspace"]
                file["kspace"] = kspace[:, :24, :24]


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("no folder", 2, "expected a folder"),
        ("empty", 2, "found none"),
        ("one file", 2, "at least two files"),
        ("mask", 1, "measured as a whole"),
        ("small", 1, "24x24"),
    ],
)
def test_data_that_cannot_be_used(data, tmp_path, case, code, words):
    spoil(data, case)
    run = tmp_path / "run"
    result = train(data, "-o", run, *OPTIONS)
    assert result.exit_code == code
    assert result.stderr.startswith(f"Error: {data}")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not run.exists()


def test_a_run_folder_that_cannot_be_made(data, tmp_path):
    result = train(data, "-o", data / "0.h5" / "run", *OPTIONS)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_the_record_and_deterministic_algorithms(data, tmp_path):
    run = tmp_path / "run"
    try:
        assert train(data, "-o", run, *OPTIONS, "--deterministic", "--seed", 7).exit_code == 0
    finally:
        torch.use_deterministic_algorithms(mode=False)
    record = json.loads((run / "run.json").read_text())
    assert {"version", "python", "numpy", "torch", "lightning", "data", "model"} <= set(record)
    assert (record["device"], record["deterministic"], record["settings"]["seed"]) == ("cpu", True, 7)
    assert json.loads((run / "model" / "config.json").read_text())["training"]["deterministic"]


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_units_do_not_matter(data, tmp_path, unit):
    """The same scans in other units, down to 1e-17 and up to 1e7: the same losses up to rounding."""
    losses = []
    for name in ("as they are", "in other units"):
        assert train(data, "-o", tmp_path / name, *OPTIONS).exit_code == 0
        losses.append([entry["loss"] for entry in log(tmp_path / name) if entry["kind"] == "step"])
        for path in data.iterdir():
            with h5py.File(path, "r+") as file:
                file["kspace"][...] = (file["kspace"][()].astype(np.complex128) * unit).astype(np.complex64)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
