"""Commands and Python blocks of the documentation run, page by page, on small files."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.results.hdf5 import write_scan

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if BLOCK.search(page.read_text())]


def load(name):
    """A neighbouring test module."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


readme, readme_runs = load("test_readme"), load("test_readme_runs")


def cut(path):
    """Leave one slice of a scan."""
    with h5py.File(path, "r+") as file:
        for name in ("kspace", "reconstruction_esc"):
            values = file[name][12:13]
            del file[name]
            file[name] = values


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("inputs")
    scan = folder / "scan.h5"
    assert CliRunner().invoke(main, ["example", str(scan)]).exit_code == 0
    cut(scan)
    with h5py.File(scan) as file:
        kspace, reference = file["kspace"][()], file["reconstruction_esc"][()]
    (folder / "scans").mkdir()
    shutil.copy(scan, folder / "scans")
    for name in ("singlecoil_val/file1000000.h5", "scans/second.h5"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_scan(folder / name, kspace, reference=reference)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    maps = np.stack([np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2 + 1j * a) for a in range(4)])
    coils = fft2c(torch_image(reference[:, None] * maps)).numpy()
    write_scan(folder / "multicoil.h5", coils.astype(np.complex64))
    readme_runs.write_sources(folder)
    return folder


def torch_image(values):
    import torch  # noqa: PLC0415

    return torch.from_numpy(values.astype(np.complex64))


def run_call(arguments):
    """One `mri-iahvae ...`, in the current folder; training is interrupted after its first step."""
    if "cuda" in arguments or (arguments[0] == "train" and "--stages" not in arguments):
        return  # `test_docs.py` checks it; the README's test trains the default model
    if arguments[0] == "train":
        readme_runs.train_a_little(arguments, Path(arguments[arguments.index("-o") + 1]))
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
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(text, page.name, "exec"), names)  # noqa: S102 - the documentation's own
            continue
        for arguments in readme.cli_calls(f"```bash\n{text}```"):
            run_call(arguments)


def test_the_figures_can_be_drawn_again(tmp_path):
    script = ROOT / "examples" / "method_figures.py"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, script, tmp_path, "--slices", "1", "--steps", "2"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "figures").iterdir()}
