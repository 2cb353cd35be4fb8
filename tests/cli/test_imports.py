"""`--help` must be quick: nothing heavy is imported for it."""

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


@pytest.mark.parametrize("args", [["--help"], ["--version"], *([name, "--help"] for name in main.entries)])
def test_help_imports_nothing_heavy(args):
    command = [sys.executable, "-c", PROGRAM, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(json.loads(done.stdout.splitlines()[-1]))
