"""Recorded evaluations: the buffers carry every batch; on a CUDA device graphs and eager launches agree."""

from dataclasses import replace

import pytest
import torch
from mri_iahvae.inference.engine import infer

from mri_iahvae.inference import graphs, refine
from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.settings import InferenceSettings

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SETTINGS = InferenceSettings("hybrid", 4)


def run(model, kspace, mask, settings=SETTINGS, sample=None):
    rows = [Row(i, sample) for i in range(len(kspace))]
    sigma = torch.zeros(len(kspace), device=kspace.device)
    return infer(model, kspace, mask, sigma, settings, rows).bins


@pytest.fixture
def recorder(monkeypatch):
    """Stands in for CUDA's: evaluates again on the same buffers, and counts what was recorded."""
    recordings = []

    def record(evaluate, x, _pool):
        results = evaluate(x)
        recordings.append(x.shape)

        def replay():
            for buffer, value in zip(results, evaluate(x), strict=True):
                buffer.copy_(value)

        return replay, results

    monkeypatch.setattr(graphs, "_record", record)
    monkeypatch.setattr(refine, "recordable", lambda _: True)
    return recordings


@pytest.mark.parametrize("schedule", ["joint", "sequential"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_batch_of_a_shape_replays_the_same_recordings(
    make_model, kspace, recorder, monkeypatch, schedule, optimizer
):
    model, settings = make_model(), replace(SETTINGS, schedule=schedule, optimizer=optimizer)
    masks = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    samples = (0, 2)  # so that what is drawn differs too
    batches = list(zip((kspace, kspace.flip(0) * 0.5), masks, [settings] * 2, samples, strict=True))
    found = [run(model, *batch) for batch in batches]
    assert len(recorder) == 5 * (1 if schedule == "joint" else 2)
    monkeypatch.setattr(refine, "recordable", lambda _: False)
    for result, batch in zip(found, batches, strict=True):
        assert torch.equal(result, run(model, *batch))


def test_another_shape_or_other_weights_are_recorded_anew(make_model, kspace, recorder):
    model, everything = make_model(), torch.ones(1, 16, 16, dtype=torch.bool)
    run(model, kspace, everything)
    run(model, kspace[:2], everything)
    assert len(recorder) == 10
    run(model.to(torch.float64).to(torch.float32), kspace, everything)
    assert len(recorder) == 15


def test_another_precision_is_recorded_anew(make_model, kspace, recorder, monkeypatch):
    model, everything = make_model(), torch.ones(1, 16, 16, dtype=torch.bool)
    low = replace(SETTINGS, precision="bfloat16")
    run(model, kspace, everything)
    found = run(model, kspace, everything, low)
    assert len(recorder) == 10
    monkeypatch.setattr(refine, "recordable", lambda _: False)
    assert torch.equal(found, run(model, kspace, everything, low))


def test_the_results_do_not_change_with_the_next_evaluation(make_model, kspace, recorder):
    model = make_model()
    seen = []

    def build(tensors):
        return lambda x: ((x * tensors[0]).sum(1), x + tensors[0])

    evaluate = graphs.recorded(model, "key", build, [kspace.real[:, 0]], kspace.imag[:, 0])
    for x in (kspace.imag[:, 1], kspace.imag[:, 2]):
        seen.append((x, *evaluate(x)))
    for x, value, gradient in seen:
        assert torch.equal(value, (x * kspace.real[:, 0]).sum(1))
        assert torch.equal(gradient, x + kspace.real[:, 0])


def test_recordings_have_buffers_of_their_own(make_model, kspace, recorder):
    model, (first, second, x) = make_model(), kspace.real[:, :3].clone().unbind(dim=1)

    def build(tensors):
        return lambda x: ((x * tensors[0]).sum(1), x + tensors[0])

    for tensor in (first, second):
        graphs.recorded(model, "key", build, [tensor], x)(kspace.imag[:, 0])
    assert len(recorder) == 1
    for number, tensor in enumerate((first, second, x)):
        assert torch.equal(tensor, kspace.real[:, number])


def test_nothing_is_recorded_without_cuda():
    assert not graphs.recordable(torch.device("cpu"))
    assert graphs.recordable(torch.device("cuda"))
    with graphs.eager():
        assert not graphs.recordable(torch.device("cuda"))
    assert graphs.recordable(torch.device("cuda"))


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_graphs_agree_with_eager_launches(make_model, kspace, precision):
    model, settings = make_model().cuda(), replace(SETTINGS, precision=precision)
    masks = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    for mask in masks.cuda():
        found = run(model, kspace.cuda(), mask, settings)
        with graphs.eager():
            expected = run(model, kspace.cuda(), mask, settings)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
