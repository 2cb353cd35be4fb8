import json
import math

import pytest
import torch
from click.testing import CliRunner

from benchmarks.neighbours import decompositions
from mri_iahvae.kspace.decomposition import FourierBands


@pytest.fixture
def small(monkeypatch):
    """So little that a run takes seconds."""
    monkeypatch.setattr(decompositions, "MEASURED", 8)
    monkeypatch.setattr(decompositions, "ROUNDS", 2)
    monkeypatch.setattr(
        decompositions, "STEPS", {decompositions.ALGORITHM_1: (1,), decompositions.JOINT: (2,)}
    )


def test_the_command(small, file, tmp_path):
    """All decompositions with the same number of weights; scale by scale only where scales separate."""
    options = ["--grid", "16", "--steps", "2", "--slices", "3", "--weights", tmp_path / "weights"]
    arguments = [*map(str, [file, file, *options, "--json"])]
    first, second = (
        CliRunner().invoke(decompositions.main, [*arguments, str(tmp_path / name)], catch_exceptions=False)
        for name in ("first.json", "second.json")
    )
    assert first.exit_code == second.exit_code == 0
    assert "step" in first.output
    assert "step     0" not in second.output  # the weights are there
    assert "| everything measured, scale by scale, 1 steps |" in second.output
    stored, again = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "second.json"))
    found = stored["decompositions"]
    assert list(found) == ["fourier", "wavelets", "block-dct", "rotations"]
    numbers = {name: one["parameters"] - 75 * (name == "rotations") for name, one in found.items()}
    assert len(set(numbers.values())) == 1
    for name, one in found.items():
        columns = [key for key in one["tasks"] if key.startswith("random columns")]
        assert (len(columns) == 2) == (name == "fourier")
        assert len(one["tasks"]) == 4 + len(columns)
        for key, row in one["tasks"].items():
            assert row["mean"] == pytest.approx(again["decompositions"][name]["tasks"][key]["mean"], rel=1e-3)
    assert found["fourier"]["negative_elbo"]["change"] == 0


def test_what_is_compared_is_the_same_slices():
    one = decompositions.summary([1.0, 3.0], [1.0, 2.0])
    assert one["mean"] == 2.0
    assert one["change"] == 0.5
    assert one["standard_error"] == pytest.approx(0.5)


def test_the_best_sigma_is_that_of_the_errors():
    """Distortion at any sigma, rate 0.3 and errors of deviation 0.5: no other sigma gives less."""

    def negative_elbo(sigma):
        return 0.3 + 0.5 * 0.5**2 / sigma**2 + 0.5 * math.log(2 * math.pi * sigma**2)

    assert decompositions.at_best_sigma(negative_elbo(0.1), 0.3, 0.1) == pytest.approx(negative_elbo(0.5))


def test_tasks_are_what_they_say(file):
    truth = decompositions.unseen(file, 16, 5)
    assert truth.shape == (5, 16, 16)
    torch.testing.assert_close(truth.abs().square().mean(dim=(1, 2)), torch.ones(5), rtol=0.2, atol=0)
    found = decompositions.tasks(truth)
    for ratio in (0.1, 0.2, 1.0):
        noise = torch.view_as_real(found[f"denoise {ratio}"].kspace - truth)
        assert float(noise.std()) == pytest.approx(ratio, rel=0.1)
    columns = found["random columns 4x"]
    assert torch.equal(columns.kspace, truth * columns.mask)
    assert 0.1 < columns.mask.float().mean() < 0.4
    assert (columns.mask == columns.mask[:, :1]).all()
    assert FourierBands(16).separates(columns.mask)
