"""One stage: schedules, averaged weights, steps that are dropped, scales that are held."""

import math
from dataclasses import replace

import lightning as L
import pytest
import torch

from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training import module as module_under_test
from mri_iahvae.training import run as training
from mri_iahvae.training.module import StageModule, completion_cut, validation_scores
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.settings import Stage, TrainSettings
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.statistics import canonical_batch


class Watch(L.Callback):
    """Keeps the weights after each step; spoils gradients on demand."""

    stop = False

    def __init__(self, spoil=()):
        self.spoil = spoil
        self.weights, self.averages, self.norms, self.rates = [], [], [], []

    def on_train_start(self, trainer, pl_module):
        self.on_train_batch_end(trainer, pl_module)

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step in self.spoil:
            next(iter(pl_module.model.parameters())).grad[0] = math.nan

    def on_before_optimizer_step(self, *hook):
        self.rates.append(hook[2].param_groups[0]["lr"])

    def on_train_batch_end(self, *hook):
        pl_module = hook[1]
        self.weights.append([p.detach().clone() for p in pl_module.model.parameters()])
        self.averages.append([p.detach().clone() for p in pl_module.average.parameters()])
        if "gradient_norm" in pl_module.statistics:
            self.norms.append(float(pl_module.statistics["gradient_norm"]))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def fit(config, make_blobs):
    """Trains a stage on the 16 x 16 grid and returns what was watched, and the module."""

    def run(spoil=(), steps=6, scales=None, **settings):
        plan = (Stage(16, steps, batch=4, scales=scales),)
        settings = TrainSettings(plan, validate_every=1000, **settings)
        slices = CachedSlices(make_blobs(8))
        stage = training._next_module(config, settings, 0, slices, None)
        watch = Watch(spoil)
        held_out = training._validation_batches(make_blobs(2, first=100))
        training._fit(stage, slices, held_out, watch, torch.device("cpu"), None)
        assert len(watch.weights) == steps + 1
        return watch, stage

    return run


@pytest.fixture
def stage(make_model):
    def make(steps, sigma_start=0.6, **stage):
        return StageModule(make_model(16), TrainSettings((Stage(16, steps, **stage),)), 0, sigma_start)

    return make


def test_sigma_falls_geometrically_over_the_first_half(stage):
    sigma = stage(100, sigma_start=0.8, sigma=0.05).sigma
    assert sigma(0) == pytest.approx(0.8)
    assert sigma(25) == pytest.approx(0.2)
    assert sigma(50) == pytest.approx(0.05)
    assert sigma(51) == sigma(99) == sigma(1000) == pytest.approx(0.05)
    ratios = [sigma(k + 1) / sigma(k) for k in range(50)]
    assert ratios == pytest.approx([ratios[0]] * 50)
    assert math.isfinite(stage(1).sigma(0))


def test_rate_warms_up_and_falls_to_a_twentieth(stage):
    rate = stage(1000).rate_factor
    assert rate(0) == pytest.approx(1 / 100)
    assert rate(49) == pytest.approx(0.5, abs=0.01)
    assert rate(99) == pytest.approx(1.0, abs=0.03)
    assert rate(500) == pytest.approx(0.525)
    assert rate(1000) == rate(2000) == pytest.approx(0.05)
    values = [rate(k) for k in range(1000)]
    assert max(values) <= 1
    assert values[100:] == sorted(values[100:], reverse=True)


@pytest.mark.parametrize(
    ("count", "cuts"), [(5, (3, 2)), (6, (4, 3, 2)), (8, (6, 5, 4, 3, 2)), (3, (1,)), (4, (2,)), (1, (0,))]
)
def test_completion_starts_halve_from_fine_to_coarse(count, cuts):
    """Each coarser start comes half as often, down to 4x4; the finest scale is never among the known ones."""
    drawn = [completion_cut(draw, count) for draw in range(1, 4097)]
    assert set(drawn) == set(cuts)
    fractions = [drawn.count(cut) / 4096 for cut in cuts]
    expected = [0.5 ** (k + 1) for k in range(len(cuts))]
    expected[-1] *= 2
    assert fractions == pytest.approx(expected, abs=1e-3)


def test_vectors_are_not_decayed(stage):
    decayed, kept = stage(10).configure_optimizers()["optimizer"].param_groups
    assert kept["weight_decay"] == 0 < decayed["weight_decay"]
    assert {p.ndim for p in kept["params"]} == {1}
    assert min(p.ndim for p in decayed["params"]) > 1


def test_super_resolution_branches_learn_more_slowly(config):
    """At the full rate they amplify each other: `small` at 64 x 64 diverged after 110 steps."""
    finest = replace(config.scales[-1], super_resolution=3)
    model = IAHVAE(replace(config, scales=(*config.scales[:-1], finest)))
    stage = StageModule(model, TrainSettings((Stage(32, 10),)), 0, 0.6)
    branch = list(model.scales[5].super_resolution.parameters())
    rates = {
        parameter: group["lr"] / (stage.stage.rate * stage.rate_factor(0))
        for group in stage.configure_optimizers()["optimizer"].param_groups
        for parameter in group["params"]
    }
    assert set(rates) == set(model.parameters())
    for parameter, rate in rates.items():
        assert rate == pytest.approx(0.3 if any(parameter is p for p in branch) else 1.0)


def with_trainer(module):
    module.trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    return module


def test_held_scales_change_no_gradient(stage, blobs):
    whole, part = with_trainer(stage(10)), with_trainer(stage(10, scales=(4, 16)))
    for seed in (1, 2):  # the masked and the completion-aware term
        losses = [module.training_step((blobs[:4], seed), 0) for module in (whole, part)]
        assert torch.equal(*losses)
        for loss in losses:
            loss.backward()
    for expected, found in zip(whole.model.parameters(), part.model.parameters(), strict=True):
        if found.requires_grad:
            torch.testing.assert_close(found.grad, expected.grad)
        else:
            assert found.grad is None


def test_average_follows_the_weights_with_a_warmed_up_decay(fit):
    watch, _ = fit(ema=0.3)
    expected = watch.weights[0]
    assert same(watch.averages[0], expected)
    for step in range(6):
        assert not same(watch.weights[step], watch.weights[step + 1])
        decay = min(0.3, (1 + step) / (10 + step))
        expected = [
            decay * average + (1 - decay) * weight
            for average, weight in zip(expected, watch.weights[step + 1], strict=True)
        ]
        for a, b in zip(watch.averages[step + 1], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_step_without_finite_gradients_is_skipped_and_counted(fit):
    watch, stage = fit(spoil={2, 3})
    assert watch.rates == pytest.approx([stage.stage.rate * stage.rate_factor(k) for k in range(6)])
    assert int(stage.skipped) == 2
    for step in range(6):
        assert same(watch.weights[step], watch.weights[step + 1]) == (step in (2, 3)), step
    assert all(p.isfinite().all() for p in (*watch.weights[-1], *watch.averages[-1]))
    assert [math.isfinite(norm) for norm in watch.norms] == [True, True, False, False, True, True]


def test_gradients_far_too_large_are_skipped(fit):
    watch, stage = fit(skip=1e-9)
    assert int(stage.skipped) == 6
    assert same(watch.weights[0], watch.weights[-1])
    assert same(watch.averages[0], watch.averages[-1])


def test_gradients_are_clipped_to_the_norm(stage):
    module = stage(10)
    weights = list(module.model.parameters())
    for weight in weights:
        weight.grad = torch.full_like(weight, 3.0)
    module.statistics["loss"] = torch.tensor(1.0)
    before = float(torch.cat([w.grad.flatten() for w in weights]).norm())
    module.configure_gradient_clipping(torch.optim.SGD(weights, lr=1.0))
    after = float(torch.cat([w.grad.flatten() for w in weights]).norm())
    assert float(module.statistics["gradient_norm"]) == pytest.approx(before, rel=1e-4)
    assert after == pytest.approx(module.settings.clip, rel=1e-4)
    assert int(module.skipped) == 0


def test_validation_scores_the_averaged_weights_at_the_final_sigma(stage, blobs):
    module = stage(10, sigma=0.25)
    for weight in module.average.parameters():
        weight.data.mul_(1.1)
    module.log = lambda *_, **__: None  # there is no trainer to log to
    with torch.no_grad():
        module.validation_step(blobs, 0)
        module.on_validation_epoch_end()
        kspace = canonical_batch(blobs, 16)
        seed = module.settings.seed
        expected, other = (
            validation_scores(model, kspace, 0.25, torch.Generator().manual_seed(seed))["elbo_loss"].mean()
            for model in (module.average, module.model)
        )
    assert module.validation["elbo_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert module.validation["elbo_loss"] != pytest.approx(float(other), rel=1e-3)


def test_a_step_is_a_function_of_weights_and_batch(stage, blobs):
    module, seen = with_trainer(stage(10)), set()
    for seed in range(8):
        first = module.training_step((blobs[:4], seed), 0)
        torch.manual_seed(seed + 50)
        assert torch.equal(first, module.training_step((blobs[:4], seed), 7))
        statistics = module.statistics
        (term,) = {"completion", "masked"} & set(statistics)
        assert torch.isclose(statistics["loss"], statistics["elbo_loss"] + statistics[term])
        seen.add(term)
    assert seen == {"completion", "masked"}


def test_bfloat16_is_of_the_convolutions_only(stage, blobs, monkeypatch):
    """Under autocast the slices, augmentation included, are the same bits; FFT, likelihood and KL are float32."""
    real, passes = posterior_pass, []

    def spy(model, kspace, *args, **kwargs):
        passes.append((kspace, real(model, kspace, *args, **kwargs)))
        return passes[-1][1]

    monkeypatch.setattr(module_under_test, "posterior_pass", spy)
    gradients = []
    for lower in (False, True):
        module = with_trainer(stage(10))
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            loss = module.training_step((blobs[:4], 1), 0)
        loss.backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in module.model.parameters() if p.grad is not None])
        )
    (kspace, a), (same_kspace, b) = passes
    assert torch.equal(kspace, same_kspace)
    assert (b.bins.dtype, b.error.dtype, b.kl.dtype) == (torch.complex64, torch.float32, torch.float32)
    assert not torch.equal(a.error, b.error)
    for x, y in ((a.error, b.error), (a.kl, b.kl), (a.bins, b.bins), gradients):
        assert (x - y).norm() < 0.05 * x.norm()


def test_validation_is_float32_whatever_the_training(stage, blobs):
    losses = []
    for lower in (False, True):
        module = stage(10)
        module.log = lambda *_, **__: None
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=lower):
            module.validation_step(blobs, 0)
        module.on_validation_epoch_end()
        losses.append(module.validation["elbo_loss"])
    assert losses[0] == losses[1]
