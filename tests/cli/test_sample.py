"""`mri-iahvae sample`, as a user runs it."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import mri_iahvae
from mri_iahvae.cli import main


@pytest.fixture
def sample(checkpoint, tmp_path):
    """Runs the command; later options override the defaults here."""
    common = ("--checkpoint", checkpoint, "--device", "cpu", "-o", tmp_path / "out")
    return lambda *args: CliRunner().invoke(main, ["sample", *map(str, (*common, *args))])


def test_files_and_their_names(sample, checkpoint, tmp_path):
    result = sample("--count", 3, "--temperature", 0.7, "--seed", 2, "--batch", 2)
    assert result.exit_code == 0, result.output
    names = ["samples.png", "samples.h5"]
    assert result.stdout.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert result.stderr == "Drawing\n"
    assert sorted(path.name for path in tmp_path.glob("out/*")) == sorted(names)
    with h5py.File(tmp_path / "out" / "samples.h5") as file:
        images = file["samples"][()]
        assert (file.attrs["temperature"], file.attrs["seed"]) == (0.7, 2)
    expected = mri_iahvae.sample(3, temperature=0.7, seed=2, checkpoint=checkpoint, device="cpu")
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("args", [("--count", 0), ("--temperature", "nan"), ("--checkpoint", "none"), ("x",)])
def test_wrong_usage_exits_with_2(sample, tmp_path, args):
    result = sample(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert not (tmp_path / "out").exists()
