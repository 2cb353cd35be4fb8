"""Algorithm 1 on masks of every kind: what holds whatever the weights are, and what a linear model's posterior is."""

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import METHODS
from mri_iahvae.inference.prior import sample_prior
from mri_iahvae.inference.settings import DATA_CONSISTENCY
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.objective import complete, posterior_pass
from tests.inference.runs import COLUMNS, EVERYTHING, MASKS, NOTHING, block, inference, run, samples
from tests.linear_model import RATIO, check_samples

CPU = torch.device("cpu")
THREE = torch.tensor([0.0, 0.3, 2.0])  # noise levels of three batch elements


@pytest.fixture(params=MASKS)
def mask(request):
    return MASKS[request.param]


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture(params=[method for method in METHODS if method != "paper"])
def sampled(request):
    """A method that gives samples."""
    return request.param


def test_data_consistency(model, kspace, noise, mask, method):
    """One inference seen in three ways; values that were not measured are never looked at."""
    unmeasured = ~mask.expand_as(kspace)
    junk = torch.where(mask, kspace, 1e3 * complex_noise((3, 16, 16), 1.0, noise))
    hard, soft, own, again = (
        run(model, data, mask, method, THREE, data_consistency=kind)
        for data, kind in ((kspace, "hard"), (kspace, "soft"), (kspace, "none"), (junk, "soft"))
    )
    assert own.dtype == torch.complex64
    assert own.isfinite().all()
    assert torch.equal(hard, torch.where(mask, kspace, own))
    assert torch.equal(soft, again)
    weight = (model.sigma**2 / (model.sigma**2 + THREE.square()))[:, None, None]
    torch.testing.assert_close(soft, torch.where(unmeasured, own, own + weight * (kspace - own)))
    if mask.any():
        assert (own != kspace).all()
        changed = torch.where(mask, 1.1 * kspace, kspace)
        assert (run(model, changed, mask, method, THREE, data_consistency="none") != own).any()


@pytest.mark.parametrize("finer", [8, 16])
def test_coarse_bins_do_not_depend_on_finer_measurements(model, kspace, method, finer):
    for mask in (COLUMNS, MASKS["scattered"]):
        more, less = (
            run(model, kspace, mask & block(s), method, data_consistency="none") for s in (finer, finer // 2)
        )
        assert torch.equal(crop(more, finer // 2), crop(less, finer // 2))
        assert not torch.allclose(more, less)


@pytest.mark.parametrize("s", [0, 1, 4, 8])
def test_unmeasured_scales_are_the_prior_mean_given_the_measured_ones(model, kspace, s):
    """As training completes them."""
    for method in METHODS if s == 0 else ["amortized"]:
        found = run(model, kspace, block(s), method)
        torch.testing.assert_close(found, complete(model, kspace, s), rtol=1e-4, atol=1e-4)
    own = run(model, kspace, block(s), "amortized", data_consistency="none")
    taught = posterior_pass(model, kspace, teacher=torch.ones(3, dtype=torch.bool)).bins
    torch.testing.assert_close(crop(own, s), crop(taught, s), rtol=1e-4, atol=1e-4)


def test_no_steps_leave_the_start(model, kspace, mask):
    amortized, hybrid, paper, iterative = (
        run(model, kspace, mask, method, steps=0, data_consistency="none")
        for method in ("amortized", "hybrid", "paper", "iterative")
    )
    for found in (hybrid, paper):
        torch.testing.assert_close(found, amortized, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(crop(iterative, 1), crop(complete(model, kspace, 0), 1))


def test_the_encoder_runs_where_something_is_measured_only(model, kspace, method):
    calls = []
    hooks = [
        stage.register_forward_hook(lambda *_, index=index: calls.append(index))
        for index, stage in enumerate(model.encoder)
    ]
    run(model, kspace, block(4), method)
    for hook in hooks:
        hook.remove()
    # Of what is measured, and of what is settled.
    assert calls == ([] if method == "iterative" else [0, 0, 1, 1, 2])


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid"])
def test_endless_noise_hides_the_data(model, kspace, method):
    first, second = (
        run(model, data, COLUMNS, method, 1e6, data_consistency="soft", steps=20)
        for data in (kspace, 2j * kspace)
    )
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    if method == "iterative":
        torch.testing.assert_close(first, complete(model, kspace, 0), rtol=0, atol=0.02)


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
def test_steps_are_reported_per_batch_element_and_scale(model, kspace, options, each):
    """None where nothing is measured, also between scales where something is."""
    masks = torch.cat([EVERYTHING, MASKS["a band in the middle missing"], NOTHING])
    found = inference(model, kspace, masks, steps=5, **options)
    assert found.steps.tolist() == [[each] * 5, [each, each, each, 0, each], [0] * 5]
    assert found.steps.dtype == torch.int64


def test_automatic_steps_stop_each_scale_when_it_has_converged(model, kspace):
    auto = inference(model, kspace, COLUMNS, steps="auto", data_consistency="none")
    assert (auto.steps[:, 0] < 15).all()  # two latents
    assert ((auto.steps > 2) & (auto.steps <= 100)).all()
    alone = inference(model, kspace[1:2], COLUMNS, steps="auto")
    assert alone.steps[0, :2].tolist() == auto.steps[1, :2].tolist()
    few, many = (run(model, kspace, COLUMNS, steps=n, data_consistency="none") for n in (3, 100))
    # Of the coarsest scale: no coarser one has gone another way.
    away = [(other - many)[:, 8, 8].norm() for other in (auto.bins, few)]
    assert away[0] < 0.1 * away[1]


def test_bfloat16_rounds_the_convolutions_only(model, kspace):
    high, low = (run(model, kspace, COLUMNS, "amortized", precision=name) for name in ("float32", "bfloat16"))
    assert low.dtype == torch.complex64
    assert 0 < (low - high).norm() < 0.02 * high.norm()


def test_a_batch_element_does_not_depend_on_the_others(model, kspace, method):
    """Whatever is measured of each, and with whatever noise: also nothing, and not a band in the middle."""
    kinds = "a band in the middle missing", "columns", "block", "nothing"
    masks = torch.cat([MASKS[kind] for kind in kinds])
    data, noise = kspace[[0, 1, 2, 0]], torch.tensor([0.0, 0.3, 1.0, 0.0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    together = run(model, data, masks, method, noise, data_consistency="none")
    assert not together.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for k in range(4):
        one = slice(k, k + 1)
        alone = run(model, data[one], masks[one], method, noise[one], data_consistency="none")
        torch.testing.assert_close(alone, together[one], rtol=2e-3, atol=2e-3)


def test_samples_repeat_bit_for_bit_and_do_not_depend_on_their_batch(model, kspace, sampled):
    """On their own seed, slice and sample alone: to 0.2 % and 0.002, what the rounding of a batch may grow to."""
    elements = [Element(5, 0), Element(5, 1), Element(6, 2)]
    masks, noise = torch.cat([COLUMNS, COLUMNS, block(4)]), torch.tensor([0.0, 0.0, 0.4])
    data = kspace[[0, 0, 1]]

    def sample(chosen, elements, seed=0):
        options = {"seed": seed, "data_consistency": "soft"}
        return run(model, data[chosen], masks[chosen], sampled, noise[chosen], elements, **options)

    together = sample([0, 1, 2], elements)
    assert torch.equal(sample([0, 1, 2], elements), together)
    for chosen in ([2], [1, 2, 0, 0]):
        others = sample(chosen, [elements[k] for k in chosen])
        torch.testing.assert_close(others, together[chosen], rtol=2e-3, atol=2e-3)
    for element, seed in ((Element(6, 0), 0), (Element(5, 2), 0), (Element(5, 0), 1), (Element(5, None), 0)):
        other = sample([0], [element], seed)
        assert (other[0] != together[0])[~masks[0]].all()


def test_at_temperature_zero_samples_are_the_most_probable_estimate(model, kspace, sampled):
    elements = [Element(k, k) for k in range(3)]
    options = {"data_consistency": "soft", "temperature": 0.0}
    cold = run(model, kspace, COLUMNS, sampled, THREE, elements, **options)
    assert torch.equal(cold, run(model, kspace, COLUMNS, sampled, THREE, data_consistency="soft"))


def test_with_nothing_measured_samples_are_those_of_the_prior(model, kspace, sampled):
    """With a draw of what the latents leave open in every band, which finer contexts see."""
    draws = Draws(0, 1.0, (Element(4, 0), Element(4, 1)), CPU)
    walk = Walk(model, 2, CPU)
    for scale, h in walk:
        last = scale.run(h, draws.latents(scale))
        residual = model.sigma * draws.bins(scale, "model") * model.decomposition.ring(scale.index)
        walk.extend(last, scale.bins(last) + residual)
    for kind in DATA_CONSISTENCY:
        found = samples(model, kspace[0], NOTHING, 2, sampled, number=4, data_consistency=kind)
        torch.testing.assert_close(found, walk.coarse, rtol=1e-4, atol=1e-4)
    assert (sample_prior(model, draws) - found).abs().mean() < 2 * model.sigma


@pytest.mark.parametrize("method", ["iterative", "hybrid"])
@pytest.mark.parametrize(
    ("kind", "sigma"), [("some", 0.0), ("some", 0.5), ("everything", 0.5), ("nothing", 0.0), ("finest", 0.5)]
)
def test_samples_of_a_linear_model_are_those_of_its_posterior(linear, noise, method, kind, sigma):
    """Mean and covariance of all bins, measured with and without noise, or not: wherever the encoder starts."""
    mask = {
        "some": torch.rand(4, 4, generator=noise) < 0.5,
        "everything": torch.ones(4, 4, dtype=torch.bool),
        "nothing": torch.zeros(4, 4, dtype=torch.bool),
        "finest": ~block_mask(2, 4),
    }[kind]
    kspace = complex_noise((4, 4), 1.5, noise)
    mean, covariance = linear.posterior(kspace, mask, sigma)
    options = {"steps": 40, "data_consistency": "soft"}
    found = linear.flat(samples(linear, kspace, mask[None], 1200, method, sigma, **options))
    known = covariance.diagonal() < 1e-4  # measured without noise
    assert bool(known.any()) == (kind == "some" and sigma == 0)
    torch.testing.assert_close(found[:, known], mean[known].expand(len(found), -1), rtol=0, atol=1e-4)
    check_samples(found[:, ~known], mean[~known], covariance[~known][:, ~known])
    best = run(linear, kspace[None], mask[None], method, sigma, **options)
    torch.testing.assert_close(linear.flat(best)[0], mean, rtol=0, atol=5e-3)


@pytest.mark.parametrize("measured", [16, 11])
def test_amortized_samples_have_the_encoders_mean_and_variance(linear, noise, measured):
    """Of the latents r^2, the encoder's variance for the measured fraction of the band, else the prior's."""
    mask = torch.arange(16).reshape(4, 4) < measured  # the last five bins belong to the finest band
    kspace = complex_noise((4, 4), 1.5, noise)
    found = samples(linear, kspace, mask[None], 1200, "amortized", data_consistency="none")
    finest = linear.scales[2]
    prior_mean = finest.bins(finest.run(finest.context(None, kspace[None])))[0]
    imputed = torch.where(mask, kspace, prior_mean)
    for scale in linear.scales:
        offset, matrix = scale.prior()
        fraction = float(crop(mask, scale.side)[scale.ring].float().mean())
        variance = fraction * RATIO**2 + 1 - fraction
        mean = offset + matrix @ (0.3 * crop(imputed, scale.side).real.flatten()).repeat(2)
        covariance = variance * matrix @ matrix.T + linear.sigma**2 * torch.eye(len(offset))
        check_samples(scale.flat(crop(found, scale.side)), mean, covariance)


def test_training_walks_as_inference_does(linear):
    """With a scale that has no part of the networks."""
    kspace = complex_noise((3, 4, 4), 1.0, torch.Generator().manual_seed(0))
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    passed = posterior_pass(linear, kspace)
    found = run(linear, kspace, everything, "amortized", data_consistency="none")
    torch.testing.assert_close(passed.bins, found)
    torch.testing.assert_close(passed.error.sum(0), (found - kspace).abs().square().sum((1, 2)))
    found = run(linear, kspace, block_mask(2, 4)[None], "amortized")
    torch.testing.assert_close(complete(linear, kspace, 2), found)
