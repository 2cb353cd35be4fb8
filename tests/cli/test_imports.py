"""`--help` must be quick: nothing heavy is imported for it; nor PyTorch where the command line is wrong."""

import json
import subprocess
import sys

import pytest

from mri_iahvae.cli import main

HEAVY = {"torch", "numpy", "h5py", "lightning", "matplotlib", "nibabel", "fastmri", "rich", "safetensors"}

PROGRAM = """
import json, sys
from mri_iahvae.cli import main
main(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

EXIT_CODE = """
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 2
"""


def run(program, *args, **options):
    """What it prints on stderr, and the modules that it loads."""
    command = [sys.executable, "-c", program, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    return done.stderr, set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["--version"], *([name, "--help"] for name in main.entries)])
def test_help_imports_nothing_heavy(args):
    assert HEAVY.isdisjoint(run(PROGRAM, *args)[1])


def test_inspect_does_not_wait_for_pytorch(make_scan, checkpoint):
    _, loaded = run(PROGRAM, "inspect", make_scan(), "--checkpoint", checkpoint)
    assert loaded & HEAVY == {"numpy", "h5py"}


@pytest.mark.parametrize(
    "args",
    [
        ["reconstruct", ".", "--quality", "fast", "--steps", "3"],
        ["reconstruct", ".", "--checkpoint", "none"],
        ["reconstruct", "."],
        ["denoise", ".", "--sigma", "1", "--relative-sigma", "1"],
        ["evaluate", ".", "."],
        ["simulate", ".", "--mask-type", "random"],
        ["sample", "--checkpoint", "none"],
        ["plan", ".", "--lines", "2", "--mask-type", "random"],
        ["train"],
        ["example", "there.h5"],
    ],
    ids=" ".join,
)
def test_wrong_usage_does_not_wait_for_pytorch(args, tmp_path):
    (tmp_path / "there.h5").touch()
    (tmp_path / "folder").mkdir()
    program = PROGRAM.replace("main(sys.argv[1:], standalone_mode=False)", EXIT_CODE)
    error, loaded = run(program, *args, cwd=tmp_path if args[0] == "example" else tmp_path / "folder")
    assert "Error: " in error
    assert "torch" not in loaded
