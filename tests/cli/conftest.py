"""A command as a user runs it, with a tiny model."""

import h5py
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main


@pytest.fixture
def arguments(checkpoint, tmp_path):
    """Builds the command line of `reconstruct` or `denoise`; later options override the defaults here."""

    def build(command, *args):
        common = ["--checkpoint", checkpoint, "--device", "cpu", "-o", tmp_path / "out"]
        common += [] if {"amortized", "fast"} & set(args) else ["--steps", 2]
        return [command, *map(str, common), *map(str, args)]

    return build


@pytest.fixture
def cli(arguments):
    """Runs `reconstruct` or `denoise` on the CPU, two steps per scale, into the folder `out`."""
    return lambda *args: CliRunner().invoke(main, arguments(*args))


@pytest.fixture
def reconstruct(cli):
    return lambda *args: cli("reconstruct", *args)


@pytest.fixture
def denoise(cli):
    return lambda *args: cli("denoise", *args)


@pytest.fixture
def outputs(tmp_path):
    """Names of the files in the folder `out`, sorted."""
    return lambda: sorted(path.name for path in tmp_path.glob("out/*"))


@pytest.fixture
def read(tmp_path):
    """Datasets and attributes of a result in the folder `out`."""

    def datasets(name="scan.h5"):
        with h5py.File(tmp_path / "out" / name) as file:
            return {key: values[()] for key, values in file.items()}, dict(file.attrs)

    return datasets


@pytest.fixture
def expect_error(outputs):
    """One line on stderr with the words, an exit code, nothing on stdout, no traceback, and no file."""

    def check(result, code, *words):
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        assert (result.exit_code, result.stdout) == (code, ""), result.stderr
        line = result.stderr.splitlines()[-1]
        assert line.startswith("Error: ")
        assert result.stderr.count("Error: ") == 1
        for word in words:
            assert word in line
        assert outputs() == []

    return check
