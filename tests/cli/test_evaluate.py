"""`mri-iahvae evaluate`, as a user runs it."""

import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import mri_iahvae
from mri_iahvae.cli import main


@pytest.fixture
def volumes(tmp_path, rng):
    """Folders of predictions and targets, three files each."""
    for number, (name, acquisition) in enumerate([("[red].h5", "AXT1"), ("b.h5", "AXT2"), ("c.h5", "AXT2")]):
        images = rng.random((2, 12, 12)).astype(np.float32)
        for folder, values in (("targets", images), ("predictions", images + 0.01 * (1 + number))):
            path = tmp_path / folder / name
            path.parent.mkdir(exist_ok=True)
            with h5py.File(path, "w") as file:
                file["reconstruction" if folder == "predictions" else "reconstruction_esc"] = values
                file.attrs["acquisition"] = acquisition
    return tmp_path / "predictions", tmp_path / "targets"


def evaluate(*args):
    return CliRunner().invoke(main, ["evaluate", *map(str, args)])


def rows(result):
    return [line.split() for line in result.stdout.splitlines() if line.strip()]


def test_the_table(volumes):
    result = evaluate(*volumes)
    assert result.exit_code == 0, result.output
    scores = mri_iahvae.evaluate(*volumes)
    lines = rows(result)
    assert lines[0] == ["volume", "acquisition", "slices", "NMSE", "PSNR", "(dB)", "SSIM"]
    for line, volume in zip(lines[1:4], scores.volumes, strict=True):
        found = volume.scores
        assert line[:3] == [volume.prediction.name, volume.acquisition, "2"]
        assert line[3:] == [f"{found.nmse:#.3g}", f"{found.psnr:.2f}", f"{found.ssim:.4f}"]
    assert [line[0] for line in lines[4:]] == ["1", "2", "3"]  # AXT1, AXT2, all
    mean, std = scores.overall.mean, scores.overall.std
    assert lines[6][:6] == ["3", "volumes,", "mean", "+/-", "2", "SD"]
    assert lines[6][7:10] == [f"{mean['nmse']:#.3g}", "+/-", f"{2 * std['nmse']:#.3g}"]
    assert result.stderr == "Scoring\n"


def test_json(volumes, tmp_path):
    path = tmp_path / "new" / "scores.json"
    assert evaluate(*volumes, "-o", path).exit_code == 0
    found = json.loads(path.read_text())
    printed = evaluate(*volumes, "--json", "-q")
    assert (json.loads(printed.stdout), printed.stderr) == (found, "")
    assert found == json.loads(json.dumps(mri_iahvae.evaluate(*volumes).to_json()))
    assert found["version"] == mri_iahvae.__version__
    assert found["by_acquisition"]["AXT1"]["std"] == {"nmse": None, "psnr": None, "ssim": None}
    mean = np.mean([volume["nmse"] for volume in found["volumes"]])
    assert found["overall"]["mean"]["nmse"] == pytest.approx(mean)


def test_some_of_several_files_fail(volumes, tmp_path):
    predictions, _ = volumes
    (predictions / "b.h5").write_text("no HDF5")
    result = evaluate(*volumes, "-o", tmp_path / "scores.json")
    assert result.exit_code == 3
    assert len(rows(result)) == 1 + 2 + 3
    lines = result.stderr.splitlines()
    assert lines[1].startswith(f"Error: {predictions / 'b.h5'}: expected a readable HDF5 file")
    assert lines[2:] == ["3 files: 2 done, 1 failed"]
    failed = json.loads((tmp_path / "scores.json").read_text())["failed"]
    assert [failure["prediction"] for failure in failed] == [str(predictions / "b.h5")]


def test_all_fail(volumes, tmp_path):
    predictions, targets = volumes
    result = evaluate(targets, predictions, "-o", tmp_path / "scores.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "Error: all 3 files failed"
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--acquisition", "AXFLAIR"), "no target has it; found AXT1, AXT2"),
        (("--target", "a/b"), "root of the file"),
        (("-o", "{targets}/b.h5"), "one of the files to read"),
    ],
)
def test_wrong_usage(volumes, options, words):
    before = (volumes[1] / "b.h5").read_bytes()
    result = evaluate(*volumes, *(option.format(targets=volumes[1]) for option in options))
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr.splitlines()[-1]
    assert (volumes[1] / "b.h5").read_bytes() == before


def test_a_part_of_the_predictions(volumes):
    predictions, _ = volumes
    (predictions / "c.h5").unlink()
    assert evaluate(*volumes).exit_code == 2
    result = evaluate(*volumes, "--partial")
    assert result.exit_code == 0, result.output
    assert rows(result)[-1] == ["1", "target", "left", "out", "no", "prediction"]
