"""`benchmarks/speed.py`: the ordinary gradient is one, the separable one is its own scale's part, counts are right."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from mri_iahvae.inference.engine import infer

from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.refine import Problem
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import join, split
from mri_iahvae.model.config import ModelConfig, ScaleConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def make_model():
    """Makes a model of some scales with M layers each, no weight zero."""
    from timing import untrained  # noqa: PLC0415

    def make(scales, layers):
        return untrained(
            ModelConfig(tuple(ScaleConfig(layers, 8, 4) for _ in range(scales)), head_blocks=1), CPU
        )

    return make


CPU = torch.device("cpu")


@pytest.fixture
def everything():
    """Data and mask of two slices, all measured."""

    def make(model):
        noise = torch.Generator().manual_seed(2)
        kspace = torch.randn(2, model.size, model.size, dtype=torch.complex64, generator=noise)
        return kspace, torch.ones(kspace.shape, dtype=torch.bool)

    return make


@pytest.mark.parametrize(
    ("schedule", "count"),
    [("joint", 40), ("sequential", 120), ("layerwise", 820), ("scalewise", 180), ("allatonce", 40)],
)
def test_counts_of_layer_evaluations(schedule, count):
    from ordinary import evaluations  # noqa: PLC0415

    assert evaluations([5] * 8, schedule) == count


def test_every_schedule_evaluates_what_is_counted(make_model):
    from ordinary import ORDINARY, SEPARABLE, evaluations  # noqa: PLC0415
    from speed_gradient import Bench  # noqa: PLC0415
    from timing import counted_evaluations  # noqa: PLC0415

    bench = Bench(make_model(3, 2))
    runs = {name: bench.separable(name) for name in SEPARABLE} | {
        name: bench.ordinary(name) for name in ORDINARY
    }
    for name, run in runs.items():
        assert counted_evaluations(lambda run=run: run(3)) == 3 * evaluations([2] * 3, name)


def gradients(model, bench, layer):
    """Of one layer's latents, the later ones held: through all bands, and through its own scale's alone."""
    from ordinary import objective  # noqa: PLC0415

    place = bench.places[layer]
    last = sum(bench.layers[: place.index + 1])
    moving = bench.start[layer].clone().requires_grad_()
    total = objective(model, bench.measurement, place, [moving], bench.start[layer + 1 :]).sum()
    first = sum(bench.layers[: place.index])
    centre = [torch.zeros_like(e) for e in bench.start[first:last]]
    data, weight = bench.measurement.data[place.index], bench.measurement.weight[place.index]
    problem = Problem(model, place.index, place.h, centre, data, weight)
    own = problem.objective([moving, *bench.start[layer + 1 : last]], place.layer, place.h).sum()
    return [torch.autograd.grad(value, moving)[0] for value in (total, own)]


def test_gradients_agree_at_the_last_scale_only(make_model):
    from speed_gradient import Bench  # noqa: PLC0415

    model = make_model(3, 2)
    bench = Bench(model)
    for layer in range(6):
        total, own = gradients(model, bench, layer)
        same = torch.allclose(total, own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))
        assert same == (layer >= 4)


def test_the_objective_is_that_of_the_whole_image(make_model):
    from ordinary import descend, objective, origin  # noqa: PLC0415
    from speed_gradient import Bench  # noqa: PLC0415

    model = make_model(3, 2)
    bench = Bench(model)
    _, last = descend(model, origin(model, 1), bench.start)
    error = last.seen - join(bench.measurement.data)
    expected = error.abs().square().sum() / (2 * model.config.sigma**2)
    expected += sum(e.square().sum() for e in bench.start) / 2
    found = objective(model, bench.measurement, bench.places[0], bench.start, [])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_scale_has_nothing_to_separate(make_model, everything):
    from ordinary import observe, paper, refine  # noqa: PLC0415

    model = make_model(1, 3)
    kspace, mask = everything(model)
    measurement = observe(model, kspace, mask)

    def engine(**changes):
        settings = InferenceSettings(**{"steps": 6, "data_consistency": "none", **changes})
        return infer(model, kspace, mask, torch.zeros(2), settings, [Row(0), Row(1)]).bins

    pairs = [
        (engine(method="amortized"), refine(model, measurement, "allatonce", 0)),
        (engine(), refine(model, measurement, "allatonce", 6)),
        (engine(), refine(model, measurement, "scalewise", 6)),
        (engine(schedule="sequential"), refine(model, measurement, "layerwise", 6)),
        (engine(method="paper"), paper(model, measurement, 6)),
    ]
    for expected, found in pairs:
        torch.testing.assert_close(found, expected)


def test_unmeasured_scales_are_completed(make_model, everything):
    from ordinary import observe, paper, refine  # noqa: PLC0415

    model = make_model(4, 1)
    kspace, mask = everything(model)
    mask[:, :2] = mask[:, 6:] = mask[:, :, :2] = mask[:, :, 6:] = False
    measurement = observe(model, kspace, mask)
    assert len(measurement.data) == 3
    for bins in (refine(model, measurement, "layerwise", 2), paper(model, measurement, 2)):
        assert bins.shape == kspace.shape
        assert split(bins)[3].abs().max() > 0


def test_every_ordinary_schedule_fits_the_data_better_than_the_encoder(make_model, everything):
    from ordinary import ORDINARY, observe, refine  # noqa: PLC0415

    model = make_model(3, 2)
    kspace, mask = everything(model)
    measurement = observe(model, kspace, mask)
    start = (refine(model, measurement, "allatonce", 0) - kspace).abs().square().sum()
    for schedule in ORDINARY:
        assert (refine(model, measurement, schedule, 8) - kspace).abs().square().sum() < 0.95 * start


def test_depth_at_which_a_speedup_is_met():
    from speed_gradient import depth_of  # noqa: PLC0415

    assert depth_of(35, [8, 16, 40], [5, 15, 45]) == pytest.approx(32)
    assert depth_of(60, [8, 16, 40], [5, 15, 45]) == pytest.approx(52)
    assert depth_of(10, [8, 16, 40], [5, 15, 45]) == pytest.approx(12)
    assert math.isnan(depth_of(1000, [8, 16, 40], [5, 15, 45]))


def test_operations_and_bytes_of_a_convolution():
    from timing import work  # noqa: PLC0415

    x, weight = torch.randn(1, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3)
    forward = 2 * 3 * 5 * 9 * 64
    done = work(lambda: F.conv2d(x, weight, padding=1))
    assert done.flops == forward
    assert done.bytes == 4 * (3 * 64 + 5 * 3 * 9 + 5 * 64)
    both = work(lambda: torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), x))
    assert both.flops == 2 * forward
    assert done.bytes < both.bytes <= 3 * done.bytes


def test_peak_memory_is_that_of_the_run():
    from timing import peak_memory  # noqa: PLC0415

    taken = peak_memory(torch.ones, 2**26, device=CPU)
    assert not taken < 0.95 * 2**28  # NaN where the system does not count


def test_quick_run(make_scan, tmp_path, monkeypatch):
    """Parts a and d on tiny models: keys and counts; the second run keeps what the first one wrote."""
    import speed_slices  # noqa: PLC0415
    from speed import main  # noqa: PLC0415

    monkeypatch.setattr(speed_slices, "peak_memory", lambda *_, **__: 1.0)
    make_scan("one.h5", slices=2)
    found = []
    for part in ("a", "d"):
        output = tmp_path / "speed.json"
        options = ["--quick", "--json", str(output), "--part", part, "--bandwidth", "1", "--peak-tflops", "1"]
        result = CliRunner().invoke(main, [str(tmp_path), *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        found.append(json.loads(output.read_text()))
    assert found[0]["counted.joint_over_layerwise.M2"] == 8 * 9 / 2 / 8
    assert found[0]["speedup.joint_over_layerwise.M2"] > 0
    assert found[0]["schedules.tiny.layerwise.evaluations"] == 3 * 6 * 7 / 2
    assert found[0].items() <= found[1].items()
    assert found[1]["beside_paper.tiny.batch1.float32.hybrid.N5.over_floor"] > 1
