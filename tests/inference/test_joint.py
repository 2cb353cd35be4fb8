"""Refinement of all scales together."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.inference import joint
from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.engine import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import DATA_CONSISTENCY, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop, scales
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.iahvae import add_band

EVERYTHING = torch.ones(1, 16, 16, dtype=torch.bool)
QUIET = torch.zeros(3)


def columns():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[..., [0, 3, 5, 7, 8, 9, 13]] = True
    return mask


def run(model, kspace, mask, noise=QUIET, rows=None, **settings):
    settings = InferenceSettings(**{"steps": 3, "joint_steps": 10, **settings})
    rows = rows or [Row(k) for k in range(len(kspace))]
    return infer(model, kspace, mask, noise[: len(kspace)], settings, rows)


def objective(model, kspace, mask, latents, times, noise=QUIET):
    """J of whitened latents, written out: bins are decoded from coarse to fine, data put in as they come."""
    h, seen, total = None, kspace[:, :0, :0], 0.0
    variance = model.config.sigma**2 + noise.square()
    for index, s in enumerate(scales(16)):
        h, _ = model.descend(index, model.context(index, h, seen), latents[index])
        own, data = model.band(index, h), crop(kspace, s)
        known = crop(mask, s) & model.ring(index)
        total = total + ((own - data).abs().square() * known).sum((1, 2)) / (2 * variance)
        total = total + times[index] * sum(e.square().flatten(1).sum(1) for e in latents[index]) / 2
        share = (model.config.sigma**2 / variance)[:, None, None]
        seen = add_band(seen, torch.where(known, own + share * (data - own), own))
    return total, seen


def slope(model, kspace, latents, times, noise):
    """J of each row, and the norm of its gradient."""
    latents = [[e.detach().requires_grad_() for e in layers] for layers in latents]
    values = objective(model, kspace, columns(), latents, times, noise)[0]
    gradients = torch.autograd.grad(values.sum(), [e for layers in latents for e in layers])
    return values.detach(), torch.cat([g.flatten(1) for g in gradients], dim=1).norm(dim=1)


def refined(model, kspace, mask, noise=QUIET, **settings):
    """Bins, and the latents that they are decoded from: recorded as the last that were decoded."""
    draws = Draws(0, 1.0, tuple(Row(k) for k in range(3)), torch.device("cpu"))
    measurement = Measurement(kspace, mask.expand(3, -1, -1), noise, model.config, draws, filtered=False)
    start = [[torch.zeros(3, *model.latent_shape(k)) for _ in model.layers(k)] for k in range(5)]
    spread = [[torch.ones_like(e) for e in layers] for layers in start]
    taken, decode = [], joint.decode

    def spy(model, measurement, bands, latents):
        taken.append(latents)
        return decode(model, measurement, bands, latents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint, "decode", spy)
        bins, used, _ = joint.refine_jointly(model, measurement, start, spread, InferenceSettings(**settings))
    return bins, used, start, taken[-1]


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"steps": "auto"}], ids=str)
@pytest.mark.parametrize("spread", [(), (1.0, 2.0, 3.0, 4.5, 6.0)])
def test_the_objective_falls_towards_a_minimum(model, kspace, monkeypatch, spread, options):
    """Of the formula in the module's text, from the prior's mean."""
    monkeypatch.setattr(model, "config", replace(model.config, spread=spread))
    times = [2 * max(4, c) for c in spread] or [1] * 5
    noise = torch.tensor([0.0, 0.2, 0.5])
    _, used, start, latents = refined(model, kspace, columns(), noise, joint_steps=60, **options)
    (first, steep), (last, flat) = (slope(model, kspace, e, times, noise) for e in (start, latents))
    assert (last < 0.8 * first).all()
    assert (flat < 0.5 * steep).all()
    assert (used < 60).all() if options == {"steps": "auto"} else (used <= 60).all()


@pytest.mark.parametrize("consistency", DATA_CONSISTENCY)
def test_the_result_is_what_its_latents_decode_to(model, kspace, consistency):
    noise = torch.tensor([0.0, 0.2, 0.5])
    bins, _, _, latents = refined(
        model, kspace, columns(), noise, joint_steps=5, data_consistency=consistency
    )
    _, soft = objective(model, kspace, columns(), latents, [1] * 5, noise)
    missing = ~columns().expand(3, -1, -1)
    torch.testing.assert_close(bins[missing], soft[missing])
    if consistency == "hard":
        assert torch.equal(bins[~missing], kspace[~missing])
    if consistency == "soft":
        torch.testing.assert_close(bins, soft)
    if consistency == "none":
        assert (bins != soft)[~missing].any()


def test_coarse_bins_that_are_missing_learn_from_finer_ones(model, kspace):
    """Which the scale loop alone does not let them do."""
    more, less = columns(), columns() & block_mask(8, 16)
    for steps, same in ((0, True), (10, False)):
        a, b = (run(model, kspace, mask, joint_steps=steps).bins for mask in (more, less))
        assert torch.equal(crop(a, 4), crop(b, 4)) == same


@pytest.mark.parametrize("mask", [EVERYTHING, block_mask(8, 16)[None], torch.zeros_like(EVERYTHING)])
def test_where_nothing_is_in_doubt_it_does_nothing(model, kspace, mask):
    a, b = (run(model, kspace, mask, joint_steps=k, data_consistency="none") for k in (0, 10))
    assert torch.equal(a.bins, b.bins)
    assert torch.equal(a.steps, b.steps)


@pytest.mark.parametrize("method", ["amortized", "paper"])
def test_methods_without_it_are_left_alone(model, kspace, method):
    a, b = (run(model, kspace, columns(), joint_steps=k, method=method).bins for k in (0, 10))
    assert torch.equal(a, b)


def test_samples_are_left_alone(model, kspace):
    rows = [Row(0, 0), Row(1), Row(2, 5)]
    a, b = (run(model, kspace, columns(), rows=rows, joint_steps=k).bins for k in (0, 10))
    assert [torch.equal(x, y) for x, y in zip(a, b, strict=True)] == [True, False, True]


def test_rows_do_not_depend_on_their_batch(model, kspace):
    masks = torch.cat([columns(), EVERYTHING, columns().transpose(1, 2)])
    noise = torch.tensor([0.0, 0.4, 0.1])
    together = run(model, kspace, masks, noise)
    for row in range(3):
        alone = run(model, kspace[row, None], masks[row, None], noise[row, None])
        torch.testing.assert_close(alone.bins[0], together.bins[row], rtol=1e-3, atol=1e-3)
        assert torch.equal(alone.steps[0], together.steps[row])


def test_its_steps_count_at_every_scale(model, kspace):
    masks = torch.cat([columns(), EVERYTHING, columns()])
    assert run(model, kspace, masks).steps.tolist() == [[13] * 5, [3] * 5, [13] * 5]


def test_scales_of_which_nothing_is_measured_are_the_prior_s(model, kspace):
    """They take no part, and follow from what was refined."""
    mask = columns() & block_mask(8, 16)
    result = run(model, kspace, mask)
    assert result.steps.tolist() == [[13, 13, 13, 13, 0]] * 3
    _, _, _, latents = refined(model, kspace, mask, joint_steps=10)
    assert all((e == 0).all() for e in latents[4])
    loop = run(model, kspace, mask, joint_steps=0)
    finest = ~block_mask(8, 16)
    assert (result.bins != loop.bins)[:, finest].all()


def test_lower_precision_is_close(model, kspace):
    full, lower = (run(model, kspace, columns(), precision=p).bins for p in ("float32", "bfloat16"))
    assert 0 < (full - lower).norm() < 0.3 * full.norm()  # of weights that know nothing


def test_values_that_were_not_measured_are_never_looked_at(model, kspace, noise):
    junk = torch.where(columns(), kspace, 1e3 * complex_noise((3, 16, 16), 1.0, noise))
    a, b = (run(model, k, columns(), data_consistency="soft").bins for k in (kspace, junk))
    assert torch.equal(a, b)
