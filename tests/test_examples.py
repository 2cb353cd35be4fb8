"""The recipe in examples/, run as a user would, on small files of fastMRI's native schema."""

import json
import shlex
from pathlib import Path

import h5py
import numpy as np
from click.testing import CliRunner

from mri_iahvae.cli import main
from tests.test_docs_runs import train_a_little

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


def test_the_recipe_runs_on_small_native_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    native(tmp_path / "knee" / "singlecoil_train" / "file1000001.h5", blob(160, 140, slices=3), padding=4)
    native(tmp_path / "knee" / "singlecoil_val" / "file1000000.h5", blob(160, 136), padding=2)
    ran = []
    for _, *arguments in COMMANDS:
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
