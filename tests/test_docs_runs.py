"""Commands and Python blocks of README, documentation and examples run, page by page, on small files."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click
import h5py
import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.shared.native_files import Layout, write_native
from mri_iahvae.cli import main
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.results.hdf5 import write_scan

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
KNEE = ROOT / "examples" / "fastmri_knee.md"
PAGES = [
    pytest.param(page, marks=pytest.mark.skipif(not find_spec("sigpy"), reason="needs sigpy"))
    if page.stem in ("compare", "multi-coil")
    else page
    for page in (README, KNEE, *sorted(DOCS.rglob("*.md")))
    if BLOCK.search(page.read_text())
]


def cli_calls(text):
    """Arguments of every `mri-iahvae ...` in the ```bash blocks of a Markdown text."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            call = None
            for token in [*lexer, ";"]:
                if set(token) <= set("();<>|&"):
                    if call is not None:
                        yield call
                    call = None
                elif call is not None:
                    call.append(token)
                elif Path(token).name == "mri-iahvae":
                    call = []


def cut(path):
    """Leave one slice of a scan: commands on all of them would take minutes."""
    with h5py.File(path, "r+") as file:
        for name in ("kspace", "reconstruction_esc"):
            values = file[name][12:13]
            del file[name]
            file[name] = values


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, coil_maps):
    """Folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("inputs")
    scan = folder / "scan.h5"
    assert CliRunner().invoke(main, ["example", str(scan)]).exit_code == 0
    cut(scan)
    with h5py.File(scan) as file:
        kspace, reference = file["kspace"][()], file["reconstruction_esc"][()]
    for name in ("scans/scan.h5", "scans/second.h5", "singlecoil_val/file1000000.h5"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_scan(folder / name, kspace, reference=reference)
    for number in range(2):
        (folder / "data" / "singlecoil").mkdir(parents=True, exist_ok=True)
        write_scan(folder / "data" / "singlecoil" / f"{number}.h5", kspace)
    images = torch.from_numpy((reference[:, None] * coil_maps(4, 128, 128)).astype(np.complex64))
    write_scan(folder / "multicoil.h5", fft2c(images).numpy())
    for name, columns in (("train/file1000001", 140), ("val/file1000000", 136)):
        (folder / f"knee/singlecoil_{name}.h5").parent.mkdir(parents=True)
        layout = Layout(320, columns, (160, 160), (4, columns - 4))
        write_native(folder / f"knee/singlecoil_{name}.h5", layout, np.ones((3, 120, 100)))
    example = nibabel.load(files("nibabel") / "tests" / "data" / "example4d.nii.gz")
    volume = np.asarray(example.dataobj[..., 0], np.float32)
    for name, part in (("t1.nii.gz", volume[..., 8:10]), ("t2.nii.gz", volume[..., 14:16])):
        nibabel.save(nibabel.Nifti1Image(part, example.affine), folder / name)
    return folder


def saved():
    """The states of all runs; the first is saved after the first step."""
    return {(path, path.stat().st_mtime_ns) for path in Path("runs").rglob("states/*.safetensors")}


def train_a_little(arguments):
    """Start training as a process of its own and interrupt it once it has saved a state."""
    before = saved()
    command = [sys.executable, "-m", "mri_iahvae", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and saved() <= before:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def run_call(arguments, page):
    """One `mri-iahvae ...`, in the current folder; training is interrupted after its first step."""
    if arguments[0] in main.entries:  # knows its options, whether it runs here or not
        parent = click.Context(main, **main.context_settings)
        command = main.get_command(parent, arguments[0])
        command.make_parser(click.Context(command, parent)).parse_args(arguments[1:])
    if "cuda" in arguments or (page == KNEE and "--resume" in arguments):
        return
    if arguments[0] == "train":
        if page == README or "--stages" in arguments:  # others train for long
            train_a_little(arguments)
        return
    if arguments[0] == "example":
        Path(arguments[1]).unlink(missing_ok=True)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, (arguments, result.output)
    if arguments[0] == "example":
        cut(arguments[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_from_top_to_bottom(page, inputs, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    names = {}
    if page == README:  # its Python block speaks of arrays that the user has
        with h5py.File("scan.h5") as file:
            names = {"kspace": file["kspace"][()], "mask": np.arange(128) % 2 == 0}
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(text, page.name, "exec"), names)  # noqa: S102 - the documentation's own
            continue
        for arguments in cli_calls(f"```bash\n{text}```"):
            run_call(arguments, page)
    if page == README:
        written = {path.name for path in Path("reconstructions").iterdir()}
        assert written == {"scan.h5", "scan_kspace.png", "scan_report.json"}
        assert Path("denoised/scan.h5").is_file()
    if page == KNEE:
        record = json.loads(Path("runs/knee-small/run.json").read_text())
        assert record["settings"]["stages"][2] == {
            **record["settings"]["stages"][0],
            "size": 128,
            "steps": 3600,
        }


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("method_figures.py", ["figures", "--slices", "1", "--steps", "2"]),
        ("reconstruct_arrays.py", []),
        ("plug_and_play.py", []),
        pytest.param(
            "deepinv_pnp.py", [], marks=pytest.mark.skipif(not find_spec("deepinv"), reason="needs deepinv")
        ),
        pytest.param(
            "sigpy_prox.py", [], marks=pytest.mark.skipif(not find_spec("sigpy"), reason="needs sigpy")
        ),
    ],
)
def test_the_example_script_runs(script, options, tmp_path):
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "examples" / script, *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    if script == "method_figures.py":
        drawn = {path.name for path in (tmp_path / "figures").iterdir()}
        assert drawn <= {path.name for path in (DOCS / "figures").iterdir()}
    else:
        without, reconstruction = (float(line.split()[-1]) for line in done.stdout.splitlines()[:2])
        assert reconstruction < 0.7 * without
