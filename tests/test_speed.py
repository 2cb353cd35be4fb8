"""`benchmarks/speed`: the ordinary gradient is one, the separable one is its own scale's part, counts are right."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.speed import seconds
from benchmarks.speed.clock import counted_evaluations, peak_memory, random_kspace, untrained
from benchmarks.speed.gradient import Bench
from benchmarks.speed.memory import main as memory
from benchmarks.speed.ordinary import (
    ORDINARY,
    SEPARABLE,
    Ladder,
    evaluations,
)
from benchmarks.speed.refinement import main
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask
from mri_iahvae.model.config import ModelConfig, ScaleConfig

CPU = torch.device("cpu")


def make_model(scales, layers):
    """A model of some scales with M layers each, no weight zero."""
    return untrained(ModelConfig(tuple(ScaleConfig(layers, 8, 4) for _ in range(scales)), head_blocks=1), CPU)


def everything(model):
    """Data and mask of two slices, all measured."""
    noise = torch.Generator().manual_seed(2)
    kspace = torch.randn(2, model.size, model.size, dtype=torch.complex64, generator=noise)
    return kspace, torch.ones(kspace.shape, dtype=torch.bool)


@pytest.mark.parametrize(
    ("schedule", "count"),
    [("joint", 40), ("sequential", 120), ("layerwise", 820), ("scalewise", 180), ("allatonce", 40)],
)
def test_counts_of_layer_evaluations(schedule, count):
    assert evaluations([5] * 8, schedule) == count


def test_every_schedule_evaluates_what_is_counted():
    bench = Bench(make_model(3, 2))
    runs = {name: bench.separable(name) for name in SEPARABLE} | {
        name: bench.ordinary(name) for name in ORDINARY
    }
    for name, run in runs.items():
        assert counted_evaluations(lambda run=run: run(3)) == 3 * evaluations([2] * 3, name)


def gradients(bench, layer):
    """Of one layer's latents, the later ones held: through all bands, and through its own scale's alone."""
    place, moving = bench.places[layer], bench.start[layer].clone().requires_grad_()
    first = layer - place.layer
    problem = bench.problem(first)
    own = bench.start[layer + 1 : first + len(problem.e0)]
    values = (
        bench.ladder.objective(place, [moving], bench.start[layer + 1 :]),
        problem.objective([moving, *own], place.layer, place.h),
    )
    return [torch.autograd.grad(value.sum(), moving)[0] for value in values]


def test_gradients_agree_at_the_last_scale_only():
    bench = Bench(make_model(3, 2))
    for layer in range(6):
        total, own = gradients(bench, layer)
        same = torch.allclose(total, own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))
        assert same == (layer >= 4)


def test_the_objective_is_that_of_the_whole_image():
    model = make_model(3, 2)
    bench = Bench(model)
    ladder = bench.ladder
    _, last = ladder.descend(ladder.origin(), bench.start)
    error = last.coarse - random_kspace(model, 1)
    expected = error.abs().square().sum() / (2 * model.sigma**2)
    expected += sum(e.square().sum() for e in bench.start) / 2
    found = ladder.objective(bench.places[0], bench.start, [])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_scale_has_nothing_to_separate():
    model = make_model(1, 3)
    kspace, mask = everything(model)
    ladder = Ladder.observe(model, kspace, mask)

    def package(**changes):
        settings = InferenceSettings(**{"steps": 6, "data_consistency": "none", **changes})
        measured = Measurement.of(kspace, mask, torch.zeros(2), model.decomposition)
        return infer(model, measured, settings, Draws(0, 1.0, (Element(0), Element(1)), CPU)).bins

    pairs = [
        (package(method="amortized"), ladder.refine("allatonce", 0)),
        (package(), ladder.refine("allatonce", 6)),
        (package(), ladder.refine("scalewise", 6)),
        (package(schedule="sequential"), ladder.refine("layerwise", 6)),
        (package(method="paper"), ladder.paper(6)),
    ]
    for expected, found in pairs:
        # The package's J holds the prior of later layers, a constant that rounding passes on to the line search.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_unmeasured_scales_are_completed():
    model = make_model(4, 1)
    kspace, mask = everything(model)
    mask[:, :2] = mask[:, 6:] = mask[:, :, :2] = mask[:, :, 6:] = False
    ladder = Ladder.observe(model, kspace, mask)
    assert len(ladder.data) == 3
    for bins in (ladder.refine("layerwise", 2), ladder.paper(2)):
        assert bins.shape == kspace.shape
        assert bins[:, band_mask(8)].abs().max() > 0


@pytest.mark.parametrize("schedule", ORDINARY)
def test_ordinary_schedules_fit_the_data_better_than_the_encoder(schedule):
    model = make_model(3, 2)
    kspace, mask = everything(model)
    ladder = Ladder.observe(model, kspace, mask)
    start = (ladder.refine("allatonce", 0) - kspace).abs().square().sum()
    assert (ladder.refine(schedule, 8) - kspace).abs().square().sum() < 0.95 * start


def test_peak_memory_is_that_of_the_run():
    taken = peak_memory(torch.ones, 2**26, device=CPU)
    assert not taken < 0.95 * 2**28  # NaN where the system does not count


def test_the_memory_of_a_whole_reconstruction(checkpoint, no_figures, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.speed.memory.peak_memory", lambda run, *a, device: run(*a) or 2.0**20)  # noqa: ARG005
    options = ["--checkpoint", str(checkpoint), "--slices", "1", "--json", str(tmp_path / "mib.json")]
    done = CliRunner().invoke(memory, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "mib.json").read_text())["mib"] == {"1": 1.0}


def test_a_dry_run_of_all_parts(make_scan, tmp_path, monkeypatch):
    """On tiny models; a later part keeps what the earlier ones wrote."""
    monkeypatch.setattr(seconds, "peak_memory", lambda *_, **__: 1.0)
    make_scan("one.h5", slices=2, reference=True)
    output, found = tmp_path / "speed.json", {}
    for part in ("a", "b", "c"):
        options = ["--quick", "--json", str(output), "--part", part]
        result = CliRunner().invoke(main, [str(tmp_path), *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        before, found = found, json.loads(output.read_text())
        assert before.items() <= found.items()
    assert found["counted.joint_over_layerwise.M2"] == 8 * 9 / 2 / 8
    assert found["schedules.tiny.layerwise.evaluations"] == 3 * 6 * 7 / 2
    assert found["time_to_quality.everything.paper.N50.nmse"] > 0
    assert found["slices.tiny.batch1.float32.hybrid.N5.seconds_per_slice"] > 0
