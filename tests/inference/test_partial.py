"""Imputation, prior precision, and joint refinement of all scales."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.partial import Found, encode_imputed, prior_precision, refine_jointly
from mri_iahvae.inference.settings import DATA_CONSISTENCY, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.model.walk import Walk
from tests.inference.runs import COLUMNS, EVERYTHING, NOTHING, block, inference, run

DISPERSION = (1.0, 2.0, 3.0, 3.5, 5.0)
QUIET, NOISY = torch.zeros(3), torch.tensor([0.0, 0.2, 0.5])


def measurement(model, kspace, mask, noise=QUIET):
    return Measurement.of(kspace, mask, noise[: len(kspace)], model.decomposition)


def drawn(*samples, temperature=1.0):
    elements = tuple(Element(k, sample) for k, sample in enumerate(samples))
    return Draws(0, temperature, elements, torch.device("cpu"))


@pytest.fixture
def dispersed(model, monkeypatch):
    """The model with an over-dispersed prior."""
    monkeypatch.setattr(model, "config", replace(model.config, dispersion=DISPERSION))
    return model


class Spy:
    """A session that notes the blocks that it is shown."""

    def __init__(self, model, walk):
        self.session, self.walk, self.shown = model.encoder.begin(walk.coarse, walk.coarse != 0), walk, []

    def features(self, scale, block):
        self.shown.append(block)
        return self.session.features(scale, block)


@pytest.fixture
def encoded(model, kspace, noise):
    """Encodes the scale 8 x 8, about 60 % of it measured or all, in some rounds."""
    mask = torch.rand(3, 16, 16, generator=noise) < 0.6
    h = torch.randn(3, 8, 8, 8, generator=noise)
    walk = Walk(model, 3, torch.device("cpu"))
    for scale, _ in walk:
        if scale.side == 8:
            break
        walk.coarse = crop(kspace, scale.side)

    def encode(rounds, *, whole=False, sigma=QUIET):
        y = measurement(model, kspace, EVERYTHING if whole else mask, sigma).at(scale)
        spy = Spy(model, walk)
        features, posterior = encode_imputed(model, scale, h, walk, spy, y, rounds)
        assert all(torch.equal(crop(shown, 4), walk.coarse) for shown in spy.shown)
        return scale, h, y, spy.shown, features, posterior

    return encode


def test_a_scale_without_missing_bins_is_encoded_once_as_it_is(model, encoded, kspace):
    scale, h, _, shown, features, posterior = encoded(3, whole=True)
    assert len(shown) == 1
    assert torch.equal(shown[0], crop(kspace, 8))
    for found, expected in zip(posterior.std, scale.encode(h, features).std, strict=True):
        torch.testing.assert_close(found, expected)


def test_missing_bins_hold_the_prior_mean_first_and_the_posterior_mean_later(model, encoded):
    scale, h, y, shown, *_ = encoded(3)
    ring, spy = model.decomposition.ring(3), model.encoder.begin(shown[0], y.mask)
    guess = scale.bins(scale.run(h))
    assert len(shown) == 3
    for picture in shown:
        torch.testing.assert_close(picture[y.mask], y.value[y.mask])
        missing = ring & ~y.mask
        torch.testing.assert_close(picture[missing], guess[missing])
        guess = scale.bins(scale.encode(h, spy.features(scale, picture)).last)


def test_the_deviation_is_the_encoders_for_the_measured_fraction_and_the_priors_for_the_rest(encoded):
    scale, h, y, _, features, posterior = encoded(1)
    assert len(y.fraction.unique()) > 1
    for found, own in zip(posterior.std, scale.encode(h, features).std, strict=True):
        fraction = y.fraction[:, None, None, None]
        torch.testing.assert_close(found.square(), fraction * own.square() + 1 - fraction)


@pytest.mark.parametrize("whole", [True, False])
def test_noise_is_filtered_about_the_prior_mean(model, encoded, whole):
    """The posterior mean of a bin whose prior deviates by the band's gain, per batch element its own noise."""
    scale, h, y, (picture, *_), *_ = encoded(1, whole=whole, sigma=torch.tensor([0.0, 0.5, 1e4]))
    expected, signal = scale.bins(scale.run(h)), float(model.gains[3]) ** 2 / 2
    for k, level in enumerate((0.0, 0.5, 1e4)):
        mean = (level**2 * expected[k] + signal * y.value[k]) / (level**2 + signal)
        torch.testing.assert_close(picture[k][y.mask[k]], mean[y.mask[k]], rtol=1e-4, atol=1e-4)


def test_algorithm_1_as_printed_knows_of_no_noise(model, kspace):
    options = {"noise": 5.0, "data_consistency": "none"}
    for method, same in (("paper", True), ("amortized", False)):
        loud = run(model, kspace, EVERYTHING, method, **options)
        quiet = run(model, kspace, EVERYTHING, method, **{**options, "noise": 0.0})
        assert torch.equal(crop(loud, 1), crop(quiet, 1)) == same


def test_over_dispersed_priors_count_more_where_bins_are_missing_or_noisy(dispersed, kspace):
    """At least four times in bands with missing bins, as measured with noise, once elsewhere and in samples."""
    missing = EVERYTHING.repeat(4, 1, 1)
    missing[:2, 8, 5] = False  # in band 8 of 1, 2, 4, 8, 16
    missing[:2, 8, 1] = False  # in band 16
    noise, draws = torch.tensor([0.0, 0.0, 0.0, 0.4]), drawn(None, 0, None, None)
    measured = Measurement.of(kspace[[0, 1, 2, 0]], missing, noise, dispersed.decomposition)
    for scale, least, own in zip(dispersed.scales, (1, 1, 1, 4, 5), DISPERSION, strict=True):
        found = prior_precision(dispersed, measured, scale, measured.at(scale), draws)
        assert found.tolist() == [least, 1, 1, own]


def jointly(model, measured, draws=None, **settings):
    """Joint refinement from the prior mean: the bins, latents of each scale, and steps."""
    count = len(measured)
    found = []
    for scale in model.scales:
        zeros = [torch.zeros(count, *latent.shape) for latent in scale.latents]
        found.append(Found(zeros, [torch.ones_like(e) for e in zeros], torch.zeros(count, dtype=torch.int64)))
    draws = drawn(*[None] * count) if draws is None else draws
    bins, out = torch.zeros_like(measured.kspace), torch.zeros(count, dtype=torch.bool)
    refine_jointly(model, measured, found, bins, out, InferenceSettings(**settings), draws)
    return bins, [one.latents for one in found], torch.stack([one.steps for one in found], dim=1)


def objective(model, kspace, mask, latents, precision, noise):
    """J of whitened latents, written out; and the bins, data put in as they come."""
    walk, total, variance = (
        Walk(model, len(kspace), torch.device("cpu")),
        0.0,
        model.sigma**2 + noise.square(),
    )
    for (scale, h), e, c in zip(walk, latents, precision, strict=True):
        last = scale.run(h, e)
        own, data = scale.bins(last), crop(kspace, scale.side)
        known = crop(mask, scale.side) & model.decomposition.ring(scale.index)
        total = total + ((own - data).abs().square() * known).sum((1, 2)) / (2 * variance)
        total = total + c * sum(one.square().flatten(1).sum(1) for one in e) / 2
        weight = (model.sigma**2 / variance)[:, None, None]
        walk.extend(last, torch.where(known, own + weight * (data - own), own))
    return total, walk.coarse


def slope(model, kspace, latents, precision):
    """J of each batch element, and the norm of its gradient."""
    latents = [[e.detach().requires_grad_() for e in layers] for layers in latents]
    values = objective(model, kspace, COLUMNS, latents, precision, NOISY)[0]
    gradients = torch.autograd.grad(values.sum(), [e for layers in latents for e in layers])
    return values.detach(), torch.cat([g.flatten(1) for g in gradients], dim=1).norm(dim=1)


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"steps": "auto"}], ids=str)
@pytest.mark.parametrize("dispersion", [(), DISPERSION])
def test_the_joint_objective_falls_towards_a_minimum(model, kspace, monkeypatch, dispersion, options):
    """Of the formula in the module's text; over-dispersed priors count twice as much as in single scales."""
    monkeypatch.setattr(model, "config", replace(model.config, dispersion=dispersion))
    precision = [2 * max(4, c) for c in dispersion] or [1] * 5
    measured = measurement(model, kspace, COLUMNS, NOISY)
    _, latents, steps = jointly(model, measured, joint_steps=40, **options)
    start = [[torch.zeros_like(e) for e in layers] for layers in latents]
    (first, steep), (last, flat) = (slope(model, kspace, e, precision) for e in (start, latents))
    assert (last < 0.8 * first).all()
    assert (flat < 0.5 * steep).all()
    assert (steps < 40).all() if options == {"steps": "auto"} else (steps <= 40).all()


@pytest.mark.parametrize("consistency", DATA_CONSISTENCY)
def test_its_output_is_what_its_latents_decode_to(model, kspace, consistency):
    measured = measurement(model, kspace, COLUMNS, NOISY)
    bins, latents, _ = jointly(model, measured, joint_steps=3, data_consistency=consistency)
    _, soft = objective(model, kspace, COLUMNS, latents, [1] * 5, NOISY)
    missing = ~COLUMNS.expand(3, -1, -1)
    torch.testing.assert_close(bins[missing], soft[missing])
    if consistency == "hard":
        assert torch.equal(bins[~missing], kspace[~missing])
    else:
        assert torch.allclose(bins, soft, rtol=1e-4, atol=1e-4) == (consistency == "soft")


def test_coarse_bins_that_are_missing_learn_from_finer_ones(model, kspace):
    """Which the walk over scales alone does not let them do."""
    for steps, same in ((0, True), (5, False)):
        junk = torch.where(COLUMNS, kspace, 1e3)  # what was not measured is never looked at
        assert torch.equal(*(run(model, data, COLUMNS, joint_steps=steps) for data in (kspace, junk)))
        a, b = (run(model, kspace, COLUMNS & block(s), joint_steps=steps) for s in (16, 8))
        assert torch.equal(crop(a, 4), crop(b, 4)) == same


def without(row, column):
    mask = EVERYTHING[0].clone()
    mask[row, column] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "sigma", "refined"),
    [
        (EVERYTHING[0], 0.29, False),
        (EVERYTHING[0], 0.31, True),  # noise that finer bins tell from signal
        (NOTHING[0], 0.5, False),
        (block_mask(4, 16), 0.0, False),
        (block_mask(6, 16), 0.0, False),  # missing bins in the finest measured band
        (~block_mask(8, 16) | block_mask(2, 16), 0.0, True),
        (~block_mask(8, 16), 0.0, False),  # no centre
        (without(8, 8), 0.0, False),  # DC
        (without(7, 7), 0.0, False),  # one of the central 2 x 2 bins
        (without(6, 8), 0.0, True),
        (without(8, 5), 0.0, True),
        (without(0, 8), 0.0, False),
    ],
)
def test_it_refines_where_finer_bins_tell_of_coarser_ones(model, kspace, mask, sigma, refined):
    """And not samples, unless they draw nothing."""
    measured = measurement(model, kspace[:1], mask[None], torch.full((1,), sigma))
    for draws, sampled in ((drawn(None), False), (drawn(0), True), (drawn(0, temperature=0.0), False)):
        _, latents, steps = jointly(model, measured, draws, joint_steps=2)
        assert bool(latents[0][0].any()) == bool(steps.any()) == (refined and not sampled)


def test_batch_elements_do_not_depend_on_each_other(model, kspace):
    """Whatever their finest measured scale is. Scales of which nothing is measured keep the prior, and take no step."""
    masks = torch.cat([COLUMNS, EVERYTHING, COLUMNS & block(8)])
    options = {"steps": 3, "joint_steps": 10, "data_consistency": "soft"}
    together = inference(model, kspace, masks, noise=torch.tensor([0.0, 0.1, 0.1]), **options)
    assert together.steps.tolist() == [[13] * 5, [3] * 5, [13, 13, 13, 13, 0]]
    assert not any(e[2].any() for e in together.latents[4])
    loop = run(model, kspace, masks, noise=torch.tensor([0.0, 0.1, 0.1]), **{**options, "joint_steps": 0})
    assert (together.bins != loop)[2][~block_mask(8, 16)].all()  # follows from what was refined
    for k in (0, 2):
        alone = inference(model, kspace[k, None], masks[k, None], noise=0.1 * (k > 0), **options)
        torch.testing.assert_close(alone.bins[0], together.bins[k], rtol=1e-3, atol=1e-3)
        assert torch.equal(alone.steps[0], together.steps[k])
