"""The scripts and the recipe in examples/, run as a user would, on small files of fastMRI's native schema."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from mri_iahvae.cli import main
from mri_iahvae.model.checkpoint import load_domain, load_model, save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset

ROOT = Path(__file__).parents[1]
RECIPE = (ROOT / "examples" / "fastmri_knee.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in RECIPE.split("```bash\n")[1:]
    for line in block.split("```")[0].splitlines()
]
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{0}</x><y>{1}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{2}</x><y>{2}</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{3}</maximum><center>{4}</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def native(path, images, padding):
    """A native file: `images` (slices, rows, columns) in the middle of twice as many rows, columns padded."""
    slices, rows, columns = images.shape
    wide = np.zeros((slices, 2 * rows, columns), complex)
    wide[:, rows // 2 : rows // 2 + rows] = images
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wide, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    kspace[..., :padding] = kspace[..., columns - padding :] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
        acquired, centre = columns - 2 * padding, columns // 2 - padding
        file["ismrmrd_header"] = HEADER.format(2 * rows, columns, rows, acquired - 1, centre)
        file.attrs["acquisition"] = "CORPD_FBK"
    return kspace


def blob(rows, columns, slices=2):
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return np.stack([np.exp(-3 * (x**2 + (1 + k) * y**2) + 1j * (x + k * y)) for k in range(slices)])


def script(name, *arguments, folder=None):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, ROOT / "examples" / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def test_a_domain_is_measured_and_survives_halving(checkpoint, make_scan, tmp_path):
    folder, data = tmp_path / "model", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    make_scan("data/a.h5", slices=3)
    make_scan("data/b.h5", slices=2, noise=0.01)
    digest = load_model(folder)[1]
    done = script("measure_domain.py", folder, data, "ellipses")
    assert done.returncode == 0, done.stderr
    domain = load_domain(folder)
    assert (domain.description, domain.slices) == ("ellipses", 40)
    assert load_model(folder)[1] == digest
    assert script("halve_checkpoint.py", folder, tmp_path / "half").returncode == 0
    assert load_domain(tmp_path / "half") == domain


def test_the_spread_of_priors_is_stored(checkpoint, make_scan, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    make_scan("data/a.h5", slices=3)
    before, digest = load_model(folder)
    assert script("measure_dispersion.py", folder, tmp_path / "data").returncode == 0
    after, same = load_model(folder)
    assert same == digest
    assert replace(after.config, spread=()) == before.config
    assert len(after.config.spread) == len(after.config.scales)
    assert after.config.spread[0] == 1
    assert min(after.config.spread) >= 1
    assert load_domain(folder) == load_domain(checkpoint)


def test_details_leave_coarser_scales_as_they_are(checkpoint, make_scan, tmp_path):
    for split in ("train", "val"):
        make_scan(f"data/singlecoil_{split}/a.h5", slices=3)
    target, work = tmp_path / "model", tmp_path / "work"
    minutes = "--minutes 0.02 --rest-minutes 0.02 --tune-minutes 0.02"
    options = ["--details", "32:4", *minutes.split(), "--work", work]
    done = script("add_details.py", checkpoint, tmp_path / "data", target, *options)
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stdout.splitlines() if "%, step" not in line]
    assert told == ["before", "with details", "tuned"]
    (old, _), (new, digest) = load_model(checkpoint), load_model(target)
    assert [scale.detail for scale in new.config.scales] == [0, 0, 0, 0, 0, 4]
    for name, value in old.state_dict().items():
        finest = name.startswith(("encoder.5.", "decoder.5."))
        same = value.shape == new.state_dict()[name].shape and torch.equal(
            value.half(), new.state_dict()[name].half()
        )
        assert same or finest, name
    assert new.stage(5).detail.image.weight.abs().max() > 0
    rest, tuned = (load_file(work / f"{name}.safetensors") for name in ("rest_32", "tuned"))
    assert any(not torch.equal(value, tuned[f"decoder.5.detail.{name}"]) for name, value in rest.items())
    for name, value in tuned.items():
        assert torch.equal(new.state_dict()[name], value.half().float())
    assert (work / "detail_32.safetensors").exists()
    training = json.loads((target / "config.json").read_text())["training"]
    assert training["added_details"][-1]["from_sha256"] != digest
    scores = training["validation"]
    completion = " ".join(f"{ratio:.3f}" for ratio in scores["completion"])
    told = f"ELBO loss {scores['elbo_loss']:.4f}, NMSE {scores['nmse']:.4f}, completion {completion}"
    assert done.stdout.splitlines()[-1] == f"tuned: {told}"
    # The three slices that were held back, each augmented eight times.
    assert load_domain(target).slices == 24
    assert len(new.config.spread) == len(new.config.scales)
    again = script(
        "add_details.py",
        target,
        tmp_path / "data",
        tmp_path / "again",
        *("--details", "32:4", "--minutes", 0, "--rest-minutes", 0, "--tune-minutes", 0),
        *("--work", tmp_path / "more"),
    )
    assert again.returncode == 0, again.stderr
    same = load_model(tmp_path / "again")[0].state_dict()
    assert all(torch.equal(value, same[name]) for name, value in new.state_dict().items())
    assert len(json.loads((tmp_path / "again" / "config.json").read_text())["training"]["added_details"]) == 2


def known():
    """What checks a call of the command line without running it: that of the README's test."""
    specification = importlib.util.spec_from_file_location("readme", ROOT / "tests" / "test_readme.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.check_call


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "mri-iahvae"], ids=" ".join)
def test_the_command_line_knows_the_recipe(command):
    known()(main, command[1:])
    with pytest.raises(click.UsageError):
        known()(main, [*command[1:], "--no-such-option"])


def train_a_little(arguments, run):
    """Start training as a process of its own, and interrupt it once it has logged a step."""
    with subprocess.Popen(
        [sys.executable, "-m", "mri_iahvae", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and not (run / "log.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_the_recipe_runs_on_small_native_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    native(tmp_path / "knee" / "singlecoil_train" / "file1000001.h5", blob(160, 140, slices=3), padding=4)
    native(tmp_path / "knee" / "singlecoil_val" / "file1000000.h5", blob(160, 136), padding=2)
    ran = []
    for program, *arguments in COMMANDS:
        if "cuda" in arguments:
            continue
        ran.append(arguments[0])
        if program == "python":
            done = script(Path(arguments[0]).name, *arguments[1:], folder=tmp_path)
            assert done.returncode == 0, done.stderr
        elif arguments[0] == "train":
            train_a_little(arguments, Path("runs/knee-small"))
        else:
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
    assert [Path(name).stem for name in ran] == [
        "train", "reconstruct", "reconstruct", "measure_domain",
    ]  # fmt: skip
    assert load_domain("runs/knee-small/model").description == "knee; PD, PD fat-suppressed"
    assert (tmp_path / "knee-fourfold" / "file1000000.h5").is_file()
    record = json.loads((tmp_path / "runs" / "knee-small" / "run.json").read_text())
    assert record["settings"]["stages"][2] == {**record["settings"]["stages"][0], "size": 128, "steps": 3600}


def test_checkpoints_of_one_run_are_averaged(checkpoint, tmp_path):
    model, first = load_model(checkpoint)
    for weight in model.parameters():
        weight.data += 0.5
    save_model(model, tmp_path / "later", {})
    _, second = load_model(tmp_path / "later")
    script = [sys.executable, ROOT / "examples" / "average_checkpoints.py"]
    subprocess.run([*script, checkpoint, tmp_path / "later", tmp_path / "mean"], check=True)
    mean, _ = load_model(tmp_path / "mean")
    for middle, later in zip(mean.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(middle, later - 0.25, rtol=1e-3, atol=1e-3)  # stored in half precision
    config = json.loads((tmp_path / "mean" / "config.json").read_text())
    assert config["training"]["averaged_sha256"] == [first, second]
    save_model(IAHVAE(preset("tiny")), tmp_path / "other", {})
    done = subprocess.run(  # noqa: PLW1510 - the code is asserted
        [*script, checkpoint, tmp_path / "other", tmp_path / "none"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "different configurations" in done.stderr
    assert not (tmp_path / "none").exists()
