"""Every command of the README is run, as a user would, in an empty folder."""

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def calls():
    """The README's `mri-iahvae` lines outside the two marked set-up commands, in order."""
    blocks = [part.split("```")[0] for part in README.split("```bash\n")[1:]]
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("mri-iahvae ")]


def write_sources(folder):
    """Two small NIfTI volumes under the names that the README uses."""
    example = nibabel.load(files("nibabel") / "tests" / "data" / "example4d.nii.gz")
    volume = np.asarray(example.dataobj[..., 0], np.float32)
    for name, part in (("t1.nii.gz", volume[..., 8:10]), ("t2.nii.gz", volume[..., 14:16])):
        nibabel.save(nibabel.Nifti1Image(part, example.affine), folder / name)


def keep_slices(path, count):
    """Leave the first slices of a scan: commands on all of them would take minutes."""
    with h5py.File(path, "r+") as file:
        for name in ("kspace", "reconstruction_esc"):
            values = file[name][:count]
            del file[name]
            file[name] = values


def train_a_little(arguments, run):
    """Start training as a process of its own and interrupt it once it has logged a step."""
    log = run / "log.jsonl"
    before = log.stat().st_size if log.exists() else 0
    with subprocess.Popen(
        [sys.executable, "-m", "mri_iahvae", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and (not log.exists() or log.stat().st_size == before):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sources(tmp_path)
    commands = calls()
    assert [command[0] for command in commands] == [
        "example", "inspect", *["reconstruct"] * 6, "example", "denoise", "evaluate", "sample", "simulate", "train",
        "train", "reconstruct",
    ]  # fmt: skip
    for arguments in commands:
        if arguments[0] == "train":
            train_a_little(arguments, tmp_path / "runs" / "first")
            continue
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, (arguments, result.output)
        if arguments[0] == "example":
            keep_slices(tmp_path / arguments[1], 14)
    assert (tmp_path / "results" / "scan.h5").is_file()
    assert (tmp_path / "denoised" / "noisy_kspace.png").is_file()
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "scan.h5", "scan_kspace.png", "scan_report.json", "scan_scales.gif", "scan.nii.gz",
    }  # fmt: skip


def test_the_example_script_runs_and_beats_zero_filling():
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(  # noqa: PLW1510 - the code is asserted below, with the reason
        [sys.executable, ROOT / "examples" / "reconstruct_arrays.py"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    zero_filled, reconstruction = (float(line.split()[-1]) for line in done.stdout.splitlines()[:2])
    assert reconstruction < zero_filled


@pytest.mark.parametrize(
    ("document", "kind"), [("README.md", "short"), ("pretrained/small/MODEL_CARD.md", "full")]
)
def test_the_quality_table_is_the_one_that_was_measured(document, kind, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    tables = importlib.import_module("quality_tables")
    measured = json.loads((ROOT / "benchmarks" / "quality.json").read_text())
    table = getattr(tables, kind)(measured["tasks"])
    assert f"<!-- quality:begin -->\n{table}<!-- quality:end -->\n" in (ROOT / document).read_text()
    config = json.loads((ROOT / "pretrained" / "small" / "config.json").read_text())
    assert measured["model_sha256"] == config["sha256"]
