"""The tool works where every use of a socket, name look-ups included, is an error."""

import subprocess
import sys

# An audit hook sees sockets whoever opens them, C code with Python's socket module included, and cannot be taken back.
BLOCKED = """
import sys

def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.client.", "ftplib.", "smtplib.")):
        raise PermissionError(f"no network: {event} {arguments}")

sys.addaudithook(refuse)
"""

COMMANDS = """
from pathlib import Path
from mri_iahvae.cli import main

def run(*arguments):
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code == 0, (arguments, end.code)

Path("data").mkdir()
for number in range(2):
    run("example", f"data/{number}.h5", "--seed", str(number))
run("inspect", "data/0.h5")
options = ["--stages", "16:1", "--grid", "16", "--batch", "2", "--validate-every", "1", "--device", "cpu"]
run("train", "data", "-o", "run", "--preset", "tiny", *options)
options = ["--checkpoint", "run/model", "--method", "amortized", "--device", "cpu"]
run("reconstruct", "data/0.h5", "-o", "out", "--up-to", "8x8", "--nifti", "--gif", *options)
run("denoise", "data/0.h5", "-o", "denoised", *options)
run("evaluate", "out/0.h5", "data/0.h5")
run("sample", "--checkpoint", "run/model", "-o", "drawn", "--device", "cpu")
"""


def test_every_command_works_without_a_network(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED + COMMANDS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "no network" not in result.stderr
    for name in ("run/model/config.json", "out/0.h5", "denoised/0_report.json", "drawn/samples.h5"):
        assert (tmp_path / name).is_file()
