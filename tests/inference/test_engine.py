"""The scale loop on masks of every kind, with an untrained model: what holds whatever the weights are."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from mri_iahvae.inference.consistency import consistent
from mri_iahvae.inference.engine import infer
from mri_iahvae.inference.paper import refine_layers

from mri_iahvae.inference import engine
from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.measurement import Band
from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.inference.settings import DATA_CONSISTENCY, METHODS, InferenceSettings
from mri_iahvae.kspace.bands import band_mask, block_mask, crop, scales
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.iahvae import add_band, complete
from mri_iahvae.training.objective import posterior_pass

NO_NOISE = torch.zeros(3)
EVERYTHING = torch.ones(1, 16, 16, dtype=torch.bool)
NOTHING = torch.zeros(1, 16, 16, dtype=torch.bool)


def some_columns():
    mask = NOTHING.clone()
    mask[..., [0, 3, 5, 7, 8, 9, 13]] = True
    return mask


def no_centre():
    return EVERYTHING & ~block_mask(4, 16)


def scattered():
    return torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(7)) < 0.3


def block(s):
    return block_mask(s, 16)[None]


MASKS = {
    "everything": EVERYTHING,
    "nothing": NOTHING,
    "DC": block(1),
    "block": block(8),
    "columns": some_columns(),
    "no centre": no_centre(),
    "scattered": scattered(),
    "outermost band": EVERYTHING & ~block(8),
}


@pytest.fixture(params=MASKS)
def mask(request):
    return MASKS[request.param]


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


def inference(model, kspace, mask, method="hybrid", noise=NO_NOISE, rows=None, **settings):
    # The scale loop alone: what is refined across scales has tests of its own.
    settings = InferenceSettings(method=method, **{"steps": 3, "joint_steps": 0, **settings})
    rows = rows or [Row(k) for k in range(len(kspace))]
    return infer(model, kspace, mask, noise[: len(kspace)], settings, rows)


def run(*args, **options):
    return inference(*args, **options).bins


def draw(model, kspace, mask, count, method="hybrid", noise=0.0, slice_number=0, **settings):
    """Samples of one slice, complex (count, 16, 16); `kspace` complex (16, 16)."""
    rows = [Row(slice_number, k) for k in range(count)]
    kspace, noise = kspace.expand(count, -1, -1), torch.full((count,), noise)
    return run(model, kspace, mask, method, noise, rows=rows, **settings)


def prior_mean(model, count=3):
    return complete(model, -1, None, torch.zeros(count, 0, 0, dtype=torch.complex64))


def test_hard_returns_measured_bins_exactly(model, kspace, mask, method):
    result = run(model, kspace, mask, method)
    assert result.dtype == torch.complex64
    assert result.isfinite().all()
    measured = mask.expand_as(kspace)
    assert torch.equal(result[measured], kspace[measured])
    assert (result[~measured] != 0).any() != measured.all()


def test_everything_measured_returns_the_data_but_not_the_model_itself(model, kspace, method):
    assert torch.equal(run(model, kspace, EVERYTHING, method), kspace)
    own = run(model, kspace, EVERYTHING, method, data_consistency="none")
    assert (own != kspace).all()


def test_unmeasured_values_are_never_looked_at(model, kspace, noise, mask, method):
    junk = torch.where(mask, kspace, 1e3 * complex_noise((3, 16, 16), 1.0, noise))
    a, b = (run(model, k, mask, method, data_consistency="soft") for k in (kspace, junk))
    assert torch.equal(a, b)


def test_measured_values_are(model, kspace, mask, method):
    if not mask.any():
        return
    shifted = torch.where(mask, 1.1 * kspace, kspace)
    a, b = (run(model, k, mask, method, data_consistency="none") for k in (kspace, shifted))
    assert (a != b).any()


@pytest.mark.parametrize("finer", [8, 16])
def test_coarse_bins_do_not_depend_on_finer_measurements(model, kspace, method, finer):
    s = finer // 2
    for mask in (MASKS["columns"], MASKS["scattered"], EVERYTHING):
        inside = mask & block(s)
        more = run(model, kspace, mask & block(finer), method, data_consistency="none")
        less = run(model, kspace, inside, method, data_consistency="none")
        assert torch.equal(crop(more, s), crop(less, s))
        assert not torch.allclose(more, less)


@pytest.mark.parametrize("s", [1, 4, 8])
def test_unmeasured_scales_are_the_prior_mean_given_the_measured_ones(model, kspace, s):
    index = scales(16).index(s)
    taught = posterior_pass(model, kspace, teacher=torch.ones(3, dtype=torch.bool))
    expected = complete(model, index, taught.contexts[index], crop(kspace, s))
    result = run(model, kspace, block(s), "amortized")
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    own = run(model, kspace, block(s), "amortized", data_consistency="none")
    torch.testing.assert_close(crop(own, s), crop(taught.bins, s), rtol=1e-4, atol=1e-4)


def test_unmeasured_scales_cost_no_encoding(model, kspace, method):
    """Up to 4x4: the encoder runs at 1x1, 2x2 and 4x4, no more."""
    calls = []
    hooks = [
        stage.register_forward_hook(lambda *_, index=index: calls.append(index))
        for index, stage in enumerate(model.encoder)
    ]
    run(model, kspace, block(4), method)
    for hook in hooks:
        hook.remove()
    assert set(calls) <= {0, 1, 2}


def test_nothing_measured_is_the_prior_mean(model, kspace, method):
    for consistency in DATA_CONSISTENCY:
        result = run(model, kspace, NOTHING, method, data_consistency=consistency)
        torch.testing.assert_close(result, prior_mean(model))


def test_endless_noise_leaves_the_prior_mean(model, kspace):
    result = run(
        model, kspace, EVERYTHING, "iterative", torch.full((3,), 1e6), data_consistency="soft", steps=40
    )
    torch.testing.assert_close(result, prior_mean(model), rtol=0, atol=0.02)


@pytest.mark.parametrize("method", ["amortized", "hybrid"])
def test_endless_noise_hides_the_data_from_the_encoder(model, kspace, mask, method):
    noise = torch.full((3,), 1e5)
    first, second = (
        run(model, data, mask, method, noise, data_consistency="soft") for data in (kspace, 2j * kspace)
    )
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_the_encoder_is_told_of_noise_however_weak(model, kspace, monkeypatch):
    """Where any row has some, and not in Algorithm 1."""
    told, encode_imputed = [], engine.encode_imputed

    def spy(*args):
        told.extend(arg.noise for arg in args if isinstance(arg, Band))
        return encode_imputed(*args)

    monkeypatch.setattr(engine, "encode_imputed", spy)
    weak = torch.tensor([0.0, 0.0, 1e-3])
    for method, noise, expected in (
        ("amortized", weak, [weak] * 5),
        ("paper", weak, [None] * 5),
        ("hybrid", NO_NOISE, [None] * 5),
    ):
        told.clear()
        run(model, kspace, EVERYTHING, method, noise)
        assert all(a is b or torch.equal(a, b) for a, b in zip(told, expected, strict=True))


def test_algorithm_1_knows_of_no_noise(model, kspace):
    """Its latents do not, that is: what a measured bin becomes may still depend on it."""
    quiet, loud = (
        run(model, kspace, EVERYTHING, "paper", torch.full((3,), sigma), data_consistency="none")
        for sigma in (0.0, 5.0)
    )
    assert torch.equal(crop(quiet, 1), crop(loud, 1))
    amortized = run(model, kspace, EVERYTHING, "amortized", torch.full((3,), 5.0), data_consistency="none")
    before = run(model, kspace, EVERYTHING, "amortized", data_consistency="none")
    assert (crop(amortized, 1) != crop(before, 1)).all()


def test_no_steps_from_the_prior_are_the_prior_mean_band_by_band(model, kspace):
    result = run(model, kspace, MASKS["DC"], "iterative", steps=0, data_consistency="none")
    mean = prior_mean(model)
    torch.testing.assert_close(result[:, 8, 8], mean[:, 8, 8])


def test_no_steps_from_the_encoder_are_amortized(model, kspace, mask):
    amortized = run(model, kspace, mask, "amortized", data_consistency="none")
    for method in ("hybrid", "paper"):
        result = run(model, kspace, mask, method, steps=0, data_consistency="none")
        torch.testing.assert_close(result, amortized, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["everything", "columns", "no centre", "scattered"])
def test_refinement_fits_the_measured_bins_better(model, kspace, kind):
    def misfit(method, steps):
        own = run(model, kspace, MASKS[kind], method, steps=steps, data_consistency="none")
        return ((own - kspace) * MASKS[kind]).abs().square().sum(dim=(1, 2))

    for method, start in (("hybrid", misfit("amortized", 0)), ("iterative", misfit("iterative", 0))):
        refined = misfit(method, 10)
        assert (refined < 0.7 * start).all()
        assert (refined < misfit(method, 2)).all()


def test_outputs_are_one_inference_seen_in_three_ways(model, kspace, mask, method):
    noise = torch.tensor([0.0, 0.3, 2.0])
    hard, soft, own = (
        run(model, kspace, mask, method, noise, data_consistency=kind) for kind in ("hard", "soft", "none")
    )
    assert torch.equal(hard, torch.where(mask, kspace, own))
    torch.testing.assert_close(soft, consistent(own, kspace, mask, model.config.sigma, noise))
    if mask.any():
        measured = mask.expand_as(kspace)
        torch.testing.assert_close(soft[0], hard[0])
        for k in (1, 2):
            to_data, to_model = ((soft - other)[k][measured[k]].abs().sum() for other in (hard, own))
            assert (to_data < to_model) == (noise[k] < model.config.sigma + 1e-6) or k == 1
        assert not torch.allclose(own, hard)


def test_noisy_data_count_less(model, kspace):
    """The refined prediction stays nearer to the prior mean the stronger the noise is said to be."""
    mean = prior_mean(model)
    distances = [
        (
            run(
                model,
                kspace,
                block(1),
                "iterative",
                torch.full((3,), sigma),
                steps=60,
                data_consistency="none",
            )
            - mean
        )[:, 8, 8].abs()
        for sigma in (0.0, 3.0, 30.0)
    ]
    assert (distances[0] > distances[1]).all()
    assert (distances[1] > distances[2]).all()


def test_data_are_weighed_by_the_variances_of_model_and_noise(model, kspace):
    """The scale of DC by hand: weight 1 / (2 (sigma^2 + sigma_n^2)), a noise level per slice."""
    noise = torch.tensor([0.0, 0.4, 4.0])
    h = model.context(0, None, kspace[:, :0, :0])
    start = [torch.zeros(3, *model.latent_shape(0)) for _ in model.layers(0)]
    weight = (1 / (2 * (0.3**2 + noise**2)))[:, None, None]
    problem = Problem(model, 0, h, start, crop(kspace, 1), weight)
    refined, _ = refine(problem, start, [torch.ones_like(e) for e in start], steps=12)
    expected = model.band(0, model.descend(0, h, refined)[0])
    result = run(model, kspace, block(1), "iterative", noise, steps=12, data_consistency="none")
    torch.testing.assert_close(crop(result, 1), expected, rtol=1e-4, atol=1e-4)


def test_priors_that_spread_too_far_count_more_where_bins_are_missing_or_noisy(model, kspace, monkeypatch):
    """At least four times in rows and bands with holes, as measured with noise, once elsewhere and for draws."""
    weights = []

    def spy(problem, start, *_, **__):
        weights.append(problem.weight.amax(dim=(1, 2)))
        return start, torch.zeros(4, dtype=torch.int64)

    monkeypatch.setattr(engine, "refine", spy)
    monkeypatch.setattr(model, "config", replace(model.config, spread=(1.0, 2.0, 3.0, 3.5, 5.0)))
    holes = EVERYTHING.repeat(4, 1, 1)
    holes[:2, 8, 5] = False  # in band 8 of 1, 2, 4, 8, 16
    holes[:2, 8, 1] = False  # in band 16
    rows = [Row(0), Row(1, 0), Row(2), Row(3)]
    noise = torch.tensor([0.0, 0.0, 0.0, 0.4])
    run(model, kspace[[0, 1, 2, 0]], holes, "iterative", noise, rows=rows)
    quiet, noisy = 1 / (2 * 0.3**2), 1 / (2 * (0.3**2 + 0.4**2))
    for found, missing, spread in zip(weights, (1, 1, 1, 4, 5), model.config.dispersion, strict=True):
        torch.testing.assert_close(found, torch.tensor([quiet / missing, quiet, quiet, noisy / spread]))


def test_paper_is_algorithm_1_scale_by_scale(model, kspace):
    """The scale of DC by hand, and no two methods give the same elsewhere."""
    dc = crop(kspace, 1)
    h = model.context(0, None, kspace[:, :0, :0])
    last = refine_layers(model, 0, h, model.encode(0, dc, None), dc, torch.ones(1, 1, 1, dtype=torch.bool), 7)
    results = [run(model, kspace, EVERYTHING, m, steps=7, data_consistency="none") for m in METHODS]
    torch.testing.assert_close(crop(results[METHODS.index("paper")], 1), model.band(0, last))
    for first, second in combinations(results, 2):
        assert not torch.allclose(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "each"),
    [
        ({"method": "amortized"}, 0),
        ({"method": "paper"}, 10),  # per layer
        ({"method": "iterative"}, 5),
        ({"optimizer": "adam"}, 5),
        ({"optimizer": "adam", "schedule": "sequential"}, 10),
        ({"schedule": "sequential"}, 10),
    ],
)
def test_steps_are_reported_per_row_and_scale(model, kspace, options, each):
    """None where nothing is measured."""
    masks = torch.cat([EVERYTHING, block(4), NOTHING])
    found = inference(model, kspace, masks, steps=5, **options).steps
    assert found.tolist() == [[each] * 5, [*[each] * 3, 0, 0], [0] * 5]
    assert found.dtype == torch.int64


def test_automatic_steps_stop_each_scale_when_it_has_converged(model, kspace):
    auto = inference(model, kspace, MASKS["columns"], steps="auto", data_consistency="none")
    assert (auto.steps[:, 0] < 15).all()  # two latents
    assert (auto.steps > 2).all()
    assert (auto.steps <= 100).all()
    assert len(auto.steps.unique()) > 3
    for k in range(3):  # rows stop on their own
        one = slice(k, k + 1)
        alone = inference(model, kspace[one], MASKS["columns"], steps="auto")
        assert alone.steps[0, :2].tolist() == auto.steps[k, :2].tolist()
    few, many = (run(model, kspace, MASKS["columns"], steps=n, data_consistency="none") for n in (3, 100))
    away = [((other - many) * MASKS["columns"]).abs().square().sum() for other in (auto.bins, few)]
    assert away[0] < 0.2 * away[1]


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"schedule": "sequential"}])
def test_other_optimizers_and_schedules_fit_as_well_by_another_way(model, kspace, options):
    def misfit(own):
        return ((own - kspace) * MASKS["scattered"]).abs().square().sum(dim=(1, 2))

    start, default, other = (
        run(model, kspace, MASKS["scattered"], steps=steps, data_consistency="none", **extra)
        for steps, extra in ((0, {}), (15, {}), (15, options))
    )
    assert not torch.allclose(default, other, rtol=1e-3, atol=1e-3)
    assert (misfit(other) < 0.5 * misfit(start)).all()
    assert (misfit(default) < 0.5 * misfit(start)).all()


@pytest.mark.parametrize("kind", ["nothing", "block", "columns"])
def test_bfloat16_rounds_the_convolutions_only(model, kspace, kind, method):
    """Within 2 % where nothing is refined; elsewhere the refinement fits the measured bins within 10 % as well.

    (Of the several minima of this untrained model rounding may choose another one. A trained model: tests/tasks.)
    """
    mask = MASKS[kind]
    high, low = (
        run(model, kspace, mask, method, precision=name, steps=10, data_consistency="none")
        for name in ("float32", "bfloat16")
    )
    assert low.dtype == torch.complex64
    assert not torch.equal(low, high)
    if method in ("amortized", "paper") or kind == "nothing":
        assert (low - high).norm() < 0.02 * high.norm()
    else:
        misfits = [float(((own - kspace) * mask).norm()) for own in (high, low)]
        assert misfits[1] == pytest.approx(misfits[0], rel=0.1)


def test_more_imputation_rounds_change_scales_with_holes_only(model, kspace):
    one, three = (
        run(model, kspace, EVERYTHING, imputation_rounds=k, data_consistency="none") for k in (1, 3)
    )
    assert torch.equal(one, three)
    one, three = (
        run(model, kspace, MASKS["columns"], imputation_rounds=k, data_consistency="none") for k in (1, 3)
    )
    assert not torch.allclose(one, three)
    # DC and its neighbours are measured completely in rows and columns 7 and 8.
    assert torch.equal(crop(one, 2), crop(three, 2))


def test_imputation_rounds_feed_the_posterior_back(make_model, kspace):
    """One scale with holes: by hand, prior mean first, then decode, put the data back, encode again."""
    model = make_model(layers=1)
    model.layers(3)[0].posterior_block.expand.weight.mul_(100)  # what the encoder sees must matter
    mask = block(8) & ~(block(8) & ~block(4) & MASKS["scattered"])
    taught = posterior_pass(model, crop_to(kspace, 4), teacher=torch.ones(3, dtype=torch.bool))
    h = model.context(3, taught.contexts[2], crop(kspace, 4))
    features = None
    for index in range(3):
        features = model.encode(index, crop(kspace, 2**index), features)
    known = crop(mask, 8) & band_mask(8)
    data = torch.where(crop(mask, 8), crop(kspace, 8), 0)
    guess = model.band(3, model.descend(3, h)[0])
    for _ in range(3):
        filled = torch.where(crop(mask, 8), data, guess)
        last, *_ = model.amortize(3, h, model.encode(3, filled, features))
        guess = model.band(3, last)
    result = run(model, kspace, mask, "amortized", imputation_rounds=3, data_consistency="none")
    ring = band_mask(8)
    assert (ring & ~known[0]).sum() > 5
    torch.testing.assert_close(crop(result, 8)[:, ring], guess[:, ring], rtol=1e-3, atol=1e-3)


def crop_to(kspace, s):
    return kspace * block_mask(s, kspace.shape[-1])


@pytest.mark.parametrize("kind", ["everything", "block", "columns"])
def test_a_slice_does_not_depend_on_its_batch(model, kspace, method, kind):
    noise = torch.tensor([0.0, 0.3, 1.0])
    together = run(model, kspace, MASKS[kind], method, noise, data_consistency="none")
    for k in range(3):
        one = slice(k, k + 1)
        alone = run(model, kspace[one], MASKS[kind], method, noise[one], data_consistency="none")
        torch.testing.assert_close(alone, together[one], rtol=2e-3, atol=2e-3)


def test_masks_may_differ_within_a_batch(model, kspace, method):
    masks = torch.cat([MASKS["block"], MASKS["columns"], NOTHING])
    together = run(model, kspace, masks, method, data_consistency="none")
    for k in range(3):
        one = slice(k, k + 1)
        alone = run(model, kspace[one], masks[one], method, data_consistency="none")
        torch.testing.assert_close(alone, together[one], rtol=2e-3, atol=2e-3)


SAMPLED = [method for method in METHODS if method != "paper"]


@pytest.fixture(params=SAMPLED)
def sampled(request):
    """A method that gives samples."""
    return request.param


def test_samples_repeat_bit_for_bit_and_do_not_depend_on_their_batch(model, kspace, sampled):
    """On their own seed, slice and sample alone: to 0.2 % and 0.002, what the rounding of a batch may grow to."""
    rows = [Row(5, 0), Row(5, 1), Row(6, 2)]
    noise = torch.tensor([0.0, 0.0, 0.4])
    masks = torch.cat([MASKS["columns"], MASKS["columns"], block(4)])
    data = kspace[[0, 0, 1]]

    def sample(chosen, rows, seed=0):
        options = {"rows": rows, "seed": seed, "data_consistency": "soft"}
        return run(model, data[chosen], masks[chosen], sampled, noise[chosen], **options)

    together = sample([0, 1, 2], rows)
    assert torch.equal(sample([0, 1, 2], rows), together)
    for chosen in ([0], [2], [2, 1], [1, 2, 0, 0]):
        others = sample(chosen, [rows[k] for k in chosen])
        torch.testing.assert_close(others, together[chosen], rtol=2e-3, atol=2e-3)
    for row, seed in ((Row(6, 0), 0), (Row(5, 1), 0), (Row(5, 2), 0), (Row(5, 0), 1), (Row(5, None), 0)):
        other = sample([0], [row], seed)
        free = ~masks[0]
        assert (other[0, free] != together[0, free]).all()


def test_samples_spread_wherever_the_bins_are_not_known(model, kspace, sampled):
    """Without noise: at every unmeasured bin, in bands measured in part too, and at no measured one."""
    for mask in (some_columns(), scattered(), block(4), NOTHING):
        spread = draw(model, kspace[0], mask, 6, sampled).std(dim=0)
        assert (spread[~mask[0]] > 1e-3).all()
        assert not spread[mask[0]].any()


def test_samples_spread_at_noisy_bins_unless_the_data_are_to_be_kept(model, kspace, sampled):
    for mask in (EVERYTHING, some_columns()):
        soft, hard, own = (
            draw(model, kspace[0], mask, 6, sampled, 0.5, data_consistency=kind).std(dim=0)
            for kind in ("soft", "hard", "none")
        )
        assert (soft > 1e-2).all()
        assert (own > 1e-2).all()
        assert not hard[mask[0]].any()
        assert (hard[~mask[0]] > 1e-2).all()


def test_more_noise_spreads_samples_further(model, kspace):
    spreads = [
        draw(model, kspace[0], EVERYTHING, 8, noise=sigma, data_consistency="soft").std(dim=0).mean()
        for sigma in (0.01, 0.1, 1.0)
    ]
    assert 3 * spreads[0] < spreads[1]
    assert 2 * spreads[1] < spreads[2]


def test_at_temperature_zero_samples_are_the_most_probable_estimate(model, kspace, mask, sampled):
    noise, rows = torch.tensor([0.0, 0.3, 1.0]), [Row(k, k) for k in range(3)]
    options = {"data_consistency": "soft", "temperature": 0.0}
    cold = run(model, kspace, mask, sampled, noise, rows=rows, **options)
    assert torch.equal(cold, run(model, kspace, mask, sampled, noise, data_consistency="soft"))


def test_the_temperature_scales_the_spread(model, kspace):
    spreads = [
        draw(model, kspace[0], some_columns(), 8, "amortized", temperature=t).std(dim=0).mean()
        for t in (0.0, 0.01, 0.1)
    ]
    assert spreads[0] == 0
    assert spreads[2] / spreads[1] == pytest.approx(10, rel=0.2)


def test_with_nothing_measured_samples_are_those_of_the_prior(model, kspace, sampled):
    """By hand: latents and what they leave open, drawn scale by scale."""
    drawn = Draws(0, 1.0, (Row(4, 0), Row(4, 1)), kspace.device)
    h, expected = None, kspace.new_zeros(2, 0, 0)
    for index, s in enumerate(scales(16)):
        h = model.context(index, h, expected)
        shape = model.latent_shape(index)
        h, _ = model.descend(index, h, [drawn.normal(shape, index, "latents", j) for j in range(2)])
        residual = model.config.sigma * drawn.bins(s, index, "model")
        expected = add_band(expected, model.band(index, h) + residual * band_mask(s))
    for kind in DATA_CONSISTENCY:
        found = draw(model, kspace[0], NOTHING, 2, sampled, slice_number=4, data_consistency=kind)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    other = draw(model, kspace[0], NOTHING, 2, sampled, slice_number=4, seed=1)
    assert (other != found).all()


def linear_posterior(linear, kspace, mask, sigma):
    """Mean and covariance of all bins given the data: real parts of a band before its imaginary ones, band by band."""
    means, covariances = [], []
    for index, s in enumerate(scales(4)):
        ring = band_mask(s)
        offset, matrix = linear.prior_of(index)
        covariance = matrix @ matrix.T + linear.config.sigma**2 * torch.eye(len(offset))
        data, measured = crop(kspace, s)[ring], crop(mask, s)[ring].repeat(2)
        data = torch.cat((data.real, data.imag))[measured]
        inverse = torch.linalg.inv(
            covariance[measured][:, measured] + sigma**2 * torch.eye(int(measured.sum()))
        )
        gain = covariance[:, measured] @ inverse
        means.append(offset + gain @ (data - offset[measured]))
        covariances.append(covariance - gain @ covariance[measured])
    return torch.cat(means), torch.block_diag(*covariances)


def flat_bands(kspace):
    bands = [crop(kspace, s)[..., band_mask(s)] for s in scales(kspace.shape[-1])]
    return torch.cat([part for band in bands for part in (band.real, band.imag)], dim=-1)


@pytest.mark.parametrize("method", ["iterative", "hybrid"])
@pytest.mark.parametrize(
    ("kind", "sigma"), [("some", 0.0), ("some", 0.5), ("everything", 0.5), ("nothing", 0.0)]
)
def test_samples_of_a_linear_model_are_those_of_its_posterior(
    linear, noise, check_samples, method, sigma, kind
):
    """Mean and covariance of all bins, measured with and without noise, or not: wherever the encoder starts."""
    mask = {
        "some": torch.rand(4, 4, generator=noise) < 0.5,
        "everything": torch.ones(4, 4, dtype=torch.bool),
        "nothing": torch.zeros(4, 4, dtype=torch.bool),
    }[kind]
    kspace = complex_noise((4, 4), 1.5, noise)
    mean, covariance = linear_posterior(linear, kspace, mask, sigma)
    found = flat_bands(
        draw(linear, kspace, mask[None], 1200, method, sigma, steps=40, data_consistency="soft")
    )
    known = covariance.diagonal() < 1e-4  # measured without noise
    assert bool(known.any()) == (kind == "some" and sigma == 0)
    torch.testing.assert_close(found[:, known], mean[known].expand(len(found), -1), rtol=0, atol=1e-4)
    check_samples(found[:, ~known], mean[~known], covariance[~known][:, ~known])
    best = run(
        linear, kspace[None], mask[None], method, torch.tensor([sigma]), steps=40, data_consistency="soft"
    )
    torch.testing.assert_close(flat_bands(best)[0], mean, rtol=0, atol=5e-3)


@pytest.mark.parametrize("measured", [16, 11])
def test_amortized_samples_have_the_encoder_s_mean_and_variance(linear, noise, check_samples, measured):
    """Of the latents r^2, the encoder's variance for the share of the band that is measured, else the prior's."""
    mask = torch.arange(16).reshape(4, 4) < measured  # the last five bins belong to the finest band
    kspace = complex_noise((4, 4), 1.5, noise)
    found = draw(linear, kspace, mask[None], 1200, "amortized", imputation_rounds=1, data_consistency="none")
    filled = kspace.clone()
    ring = band_mask(4)
    half = len(kspace[ring])
    offset, _ = linear.prior_of(2)
    filled[ring] = torch.where(mask[ring], kspace[ring], torch.complex(offset[:half], offset[half:]))
    for index, s in enumerate(scales(4)):
        offset, matrix = linear.prior_of(index)
        share = float(crop(mask, s)[band_mask(s)].float().mean())
        variance = share * math.exp(-0.7) ** 2 + 1 - share
        mean = offset + matrix @ (0.3 * crop(filled, s).real.flatten()).repeat(2)
        covariance = variance * matrix @ matrix.T + linear.config.sigma**2 * torch.eye(len(offset))
        band = crop(found, s)[:, band_mask(s)]
        check_samples(torch.cat((band.real, band.imag), dim=1), mean, covariance)


def random_mask(kind, generator):
    mask = NOTHING[0].clone()
    row, column = torch.randint(16, (2,), generator=generator).tolist()
    if kind == "single bin":
        mask[row, column] = True
    elif kind == "single column":
        mask[:, column] = True
    elif kind != "empty":
        density = {"dense": 0.8, "sparse": 0.1, "full": 1.1, "no centre": 0.5}[kind]
        mask = torch.rand(16, 16, generator=generator) < density
    return mask & ~block_mask(4, 16) if kind == "no centre" else mask


@pytest.mark.parametrize("seed", range(3))
def test_every_mask_gives_finite_bins_and_keeps_the_data(model, kspace, method, seed):
    """Most probable estimates and samples, noisy or not, all in one batch."""
    generator = torch.Generator().manual_seed(seed)
    kinds = ["empty", "full", "single bin", "single column", "no centre", "dense", "sparse"]
    masks = torch.stack([random_mask(kind, generator) for kind in kinds]).repeat(2, 1, 1)
    data = kspace[torch.randint(3, (14,), generator=generator)] * 10 ** (seed - 1)
    noise = torch.rand(14, generator=generator) * torch.randint(2, (14,), generator=generator)
    rows = [Row(k, k if k < 7 and method != "paper" else None) for k in range(14)]
    options = {"steps": 2, "seed": seed, "rows": rows}
    hard = run(model, data, masks, method, noise, **options)
    soft = run(model, data, masks, method, noise, data_consistency="soft", **options)
    assert hard.isfinite().all()
    assert soft.isfinite().all()
    assert torch.equal(hard[masks], data[masks])
    exact = masks & (noise == 0)[:, None, None]
    torch.testing.assert_close(soft[exact], data[exact], rtol=1e-4, atol=1e-4)


def test_nothing_is_left_on_the_model(model, kspace, method):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = run(model, kspace, MASKS["columns"], method)
    assert not result.requires_grad
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
