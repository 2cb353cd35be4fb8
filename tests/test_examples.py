"""The recipe in examples/, run as a user would, on small files of fastMRI's native schema."""

import json
from pathlib import Path

import h5py
import numpy as np
from click.testing import CliRunner

from benchmarks.shared.native_files import Layout, write_native
from mri_iahvae.cli import main
from tests.test_docs_runs import cli_calls, train_a_little

ROOT = Path(__file__).parents[1]
COMMANDS = list(cli_calls((ROOT / "examples" / "fastmri_knee.md").read_text()))


def native(path, columns, padding, slices=2):
    """A native file of knees, a square seen in 160 rows, with columns of padding."""
    path.parent.mkdir(parents=True)
    layout = Layout(320, columns, (160, 160), (padding, columns - padding))
    write_native(path, layout, np.ones((slices, 120, 100)))
    with h5py.File(path, "r+") as file:
        file.attrs["acquisition"] = "CORPD_FBK"


def test_the_recipe_runs_on_small_native_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    native(tmp_path / "knee" / "singlecoil_train" / "file1000001.h5", 140, padding=4, slices=3)
    native(tmp_path / "knee" / "singlecoil_val" / "file1000000.h5", 136, padding=2)
    ran = []
    for arguments in COMMANDS:
        main.get_command(None, arguments[0]).make_context(arguments[0], arguments[1:])  # knows all options
        if "cuda" in arguments or "--resume" in arguments:
            continue
        ran.append(arguments[0])
        if arguments[0] == "train":
            train_a_little(arguments)
        else:
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
    assert ran == ["train", "reconstruct", "reconstruct"]
    assert (tmp_path / "knee-fourfold" / "file1000000.h5").is_file()
    record = json.loads((tmp_path / "runs" / "knee-small" / "run.json").read_text())
    assert record["domain"] == "knee; PD, PD fat-suppressed"
    assert record["settings"]["stages"][2] == {**record["settings"]["stages"][0], "size": 128, "steps": 3600}
