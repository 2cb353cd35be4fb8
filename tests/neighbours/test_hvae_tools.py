"""Tools of hierarchical VAEs: the whole command, the temperature, and what is paired."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.neighbours import common, hvae_temperature, hvae_tools, refined_training
from benchmarks.neighbours.common import Batches, Plan, Step, negative_elbo
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.kspace.bands import crop
from mri_iahvae.training.objective import complete

FEW = "plain", "precision-weighted"


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    monkeypatch.setattr(hvae_tools, "MEASURED", 8)
    monkeypatch.setattr(hvae_tools, "STEPS", (0, 1))
    monkeypatch.setattr(hvae_tools, "BLOCKS", (4,))
    monkeypatch.setattr(hvae_temperature, "TEMPERATURES", (0.0, 1.0))
    monkeypatch.setattr(common, "NOISES", (0.2,))
    monkeypatch.setattr(refined_training, "STEPS", (1,))
    monkeypatch.setattr(refined_training, "TIMED", 1)


@pytest.fixture
def arguments(file, tmp_path):
    return [str(file), str(file), "--slices", "3", "--batch", "2", "--weights", str(tmp_path / "weights")]


@pytest.fixture
def model(file):
    return hvae_tools.train("plain", hvae_tools.read(file, 16), 16, Plan(2, 2))


def test_the_commands(arguments, tmp_path):
    """Every tool is compared with the plain model; what starts from its weights is compared with going on plainly."""

    def run(command, name, *options):
        result = CliRunner().invoke(
            command, [*arguments, "--json", str(tmp_path / name), *options], catch_exceptions=False
        )
        assert result.exit_code == 0
        return result.output, json.loads((tmp_path / name).read_text())

    options = ("--grid", "16", "--steps", "2", "--seeds", "2", "--variant", FEW[1])
    _, first = run(hvae_tools.main, "first.json", *options)
    output, second = run(hvae_tools.main, "second.json", *options)
    assert "step     0" not in output  # the weights are there
    assert list(second["variants"]) == list(FEW)
    for name, one in second["variants"].items():
        assert one["negative_elbo"]["mean"] == pytest.approx(
            first["variants"][name]["negative_elbo"]["mean"], rel=1e-3
        )
        assert (one["negative_elbo"]["change"] == 0) == (name == "plain")
        assert len(one["kl"]) == 5
    assert "| up to 4x4, 0 steps |" in output

    output, found = run(refined_training.main, "refined.json", "--seconds", "0.01")
    trainings = found["trainings"]
    assert list(trainings) == ["before", "plain", "target", "ELBO at refined"]
    assert trainings["before"]["elbos"]["0"]["gap"]["change"] == 0
    assert trainings["plain"]["steps"] >= 1
    assert "gap to 1 steps" in output


def test_draws_at_temperature_one_and_zero(model):
    """At zero the prior mean, whose block is known; at one the energy that the prior has."""
    kspace = torch.randn(2, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))

    def draws(temperature):
        return Draws(0, temperature, (Element(0, 0), Element(1, 0)), torch.device("cpu"))

    mean = hvae_temperature.drawn_beyond(model, kspace, 4, draws(0.0))
    torch.testing.assert_close(mean, complete(model, kspace, 4))
    drawn = hvae_temperature.drawn_beyond(model, kspace, 4, draws(1.0))
    torch.testing.assert_close(crop(drawn, 4), crop(kspace, 4))
    assert (drawn - mean).abs().max() > 0


def test_energies_are_those_of_bands():
    kspace = torch.randn(3, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    scaled = kspace.clone()
    scaled[:, 4, 4] *= 3  # the centre, alone in its band
    assert hvae_temperature.energies(scaled, kspace) == pytest.approx([9.0, 1.0, 1.0, 1.0])


def test_seeds_are_paired_by_their_means():
    one = hvae_tools.paired([[1.0, 3.0], [2.0, 2.0]], [[1.0, 1.0], [2.0, 3.0]])
    assert one["mean"] == 2.0
    assert one["change"] == pytest.approx(0.25)
    assert one["standard_error"] == pytest.approx(0.75)


def test_a_posterior_that_stays_where_it_is(model, file):
    """Moved to its own means, nothing changes: no distance, no gradient, the same ELBO."""
    kspace = Batches(hvae_tools.read(file, 16), 16).draw(3)
    model.requires_grad_(requires_grad=True).zero_grad()
    own = refined_training.refined(model, kspace, 0)
    assert not own.bounded.any()
    stayed, moved = (
        refined_training.moved_pass(model, kspace, latents, torch.Generator().manual_seed(1))
        for latents in (None, own.latents)
    )
    torch.testing.assert_close(moved.distance, torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved.passed.kl, stayed.passed.kl, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved.passed.bins, stayed.passed.bins, rtol=1e-3, atol=1e-3)


def test_the_distance_trains_the_encoder_alone(model, file):
    kspace = Batches(hvae_tools.read(file, 16), 16).draw(3)
    latents = [[e + 0.5 for e in scale] for scale in refined_training.refined(model, kspace, 0).latents]
    model.requires_grad_(requires_grad=True).zero_grad()
    moved = refined_training.moved_pass(model, kspace, latents, torch.Generator().manual_seed(1))
    assert (moved.distance > 0).all()
    moved.distance.sum().backward()
    trained = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert any("posterior_block" in name for name in trained)
    assert all(name.startswith("encoder") or "posterior_block" in name for name in trained)


@pytest.mark.parametrize("name", refined_training.LOSSES)
def test_every_loss_trains_encoder_and_decoder(model, file, name):
    kspace = Batches(hvae_tools.read(file, 16), 16).draw(2)
    model.requires_grad_(requires_grad=True).zero_grad()
    none = torch.zeros(2, dtype=torch.bool)
    step = Step(model, kspace, torch.Generator().manual_seed(0), none, none, 0.3, 0.0)
    refined_training.LOSSES[name](step).backward()
    without = {key for key, weight in model.named_parameters() if weight.grad is None}
    negative_elbo(step).backward()
    assert without == {key for key, weight in model.named_parameters() if weight.grad is None}
