"""The scale loop on masks of every kind, with an untrained model: what holds whatever the weights are."""

from itertools import combinations

import pytest
import torch

from mri_iahvae.inference.consistency import consistent
from mri_iahvae.inference.engine import infer
from mri_iahvae.inference.paper import refine_layers
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import DATA_CONSISTENCY, METHODS, InferenceSettings
from mri_iahvae.kspace.bands import band_mask, block_mask, crop, scales
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.iahvae import complete
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


def run(model, kspace, mask, method="hybrid", noise=NO_NOISE, numbers=(0, 1, 2), **settings):
    settings = InferenceSettings(method=method, **{"steps": 3, **settings})
    return infer(model, kspace, mask, noise[: len(kspace)], settings, list(numbers))


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
        model, kspace, EVERYTHING, "iterative", torch.full((3,), 1e6), data_consistency="soft", steps=150
    )
    torch.testing.assert_close(result, prior_mean(model), rtol=0, atol=0.02)


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

    amortized = misfit("amortized", 0)
    few, many = misfit("hybrid", 5), misfit("hybrid", 40)
    assert (few < amortized).all()
    assert (many < few).all()
    assert (misfit("iterative", 40) < misfit("iterative", 0)).all()


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
    refined = refine(model, 0, h, start, crop(kspace, 1), weight, steps=12, rate=0.1)
    expected = model.band(0, model.descend(0, h, refined)[0])
    result = run(model, kspace, block(1), "iterative", noise, steps=12, data_consistency="none")
    torch.testing.assert_close(crop(result, 1), expected, rtol=1e-4, atol=1e-4)


def test_paper_is_algorithm_1_scale_by_scale(model, kspace):
    """The scale of DC by hand, and no two methods give the same elsewhere."""
    dc = crop(kspace, 1)
    h = model.context(0, None, kspace[:, :0, :0])
    last = refine_layers(model, 0, h, model.encode(0, dc, None), dc, torch.ones(1, 1, 1, dtype=torch.bool), 7)
    results = [run(model, kspace, EVERYTHING, m, steps=7, data_consistency="none") for m in METHODS]
    torch.testing.assert_close(crop(results[METHODS.index("paper")], 1), model.band(0, last))
    for first, second in combinations(results, 2):
        assert not torch.allclose(first, second, rtol=1e-4, atol=1e-4)


def test_more_fill_rounds_change_scales_with_holes_only(model, kspace):
    one, three = (run(model, kspace, EVERYTHING, fill_rounds=k, data_consistency="none") for k in (1, 3))
    assert torch.equal(one, three)
    one, three = (
        run(model, kspace, MASKS["columns"], fill_rounds=k, data_consistency="none") for k in (1, 3)
    )
    assert not torch.allclose(one, three)
    # DC and its neighbours are measured completely in rows and columns 7 and 8.
    assert torch.equal(crop(one, 2), crop(three, 2))


def test_fill_rounds_feed_the_posterior_back(make_model, kspace):
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
    result = run(model, kspace, mask, "amortized", fill_rounds=3, data_consistency="none")
    ring = band_mask(8)
    assert (ring & ~known[0]).sum() > 5
    torch.testing.assert_close(crop(result, 8)[:, ring], guess[:, ring], rtol=1e-3, atol=1e-3)


def crop_to(kspace, s):
    return kspace * block_mask(s, kspace.shape[-1])


def test_samples_depend_on_seed_and_slice_number_alone(model, kspace):
    mask = block(4)

    def sample(rows, numbers, seed=0, temperature=1.0):
        return run(model, kspace[rows], mask, numbers=numbers, temperature=temperature, seed=seed)

    together = sample([0, 1, 2], [5, 6, 7])
    assert torch.equal(together, sample([0, 1, 2], [5, 6, 7]))
    torch.testing.assert_close(sample([1], [6]), together[1:2], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sample([2, 1], [7, 6]), together[[2, 1]], rtol=1e-3, atol=1e-3)
    outside = ~mask[0]
    for other in (sample([1], [7]), sample([1], [6], seed=1), sample([1], [6], temperature=0.0)):
        assert (other[:, outside] != together[1:2, outside]).all()
        assert torch.equal(other[:, ~outside], together[1:2, ~outside])
    same_twice = sample([0, 0], [5, 5])
    torch.testing.assert_close(same_twice[0], same_twice[1], rtol=1e-3, atol=1e-3)


def test_temperature_scales_the_spread(model, kspace):
    mean = run(model, kspace, NOTHING)
    spread = [
        (run(model, kspace, NOTHING, temperature=t) - mean).abs().square().mean() for t in (0.1, 0.3, 1.0)
    ]
    assert spread[1] / spread[0] == pytest.approx(9, rel=0.5)
    assert spread[2] > spread[1]


def test_measured_scales_are_not_sampled(model, kspace):
    for mask in (EVERYTHING, MASKS["columns"]):
        cold, warm = (run(model, kspace, mask, temperature=t, data_consistency="none") for t in (0.0, 1.0))
        assert torch.equal(cold, warm)


@pytest.mark.parametrize("kind", ["everything", "block", "columns"])
def test_a_slice_does_not_depend_on_its_batch(model, kspace, method, kind):
    noise = torch.tensor([0.0, 0.3, 1.0])
    together = run(model, kspace, MASKS[kind], method, noise, data_consistency="none")
    for k in range(3):
        one = slice(k, k + 1)
        alone = run(model, kspace[one], MASKS[kind], method, noise[one], numbers=[k], data_consistency="none")
        torch.testing.assert_close(alone, together[one], rtol=2e-3, atol=2e-3)


def test_masks_may_differ_within_a_batch(model, kspace, method):
    masks = torch.cat([MASKS["block"], MASKS["columns"], NOTHING])
    together = run(model, kspace, masks, method, data_consistency="none", temperature=0.5)
    for k in range(3):
        one = slice(k, k + 1)
        alone = run(
            model, kspace[one], masks[one], method, numbers=[k], data_consistency="none", temperature=0.5
        )
        torch.testing.assert_close(alone, together[one], rtol=2e-3, atol=2e-3)


def test_nothing_is_left_on_the_model(model, kspace, method):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = run(model, kspace, MASKS["columns"], method)
    assert not result.requires_grad
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
