"""Inference with the comparators: an ordinary HVAE, and a bottom-up encoder under a separable decoder."""

import pytest
import torch
from mri_iahvae.inference.engine import infer
from mri_iahvae.model.ordinary import WholeLadder

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.iahvae import IAHVAE, complete
from mri_iahvae.training.objective import block_context, masked_ratio, posterior_pass

EVERYTHING = torch.ones(1, 16, 16, dtype=torch.bool)
NOTHING = torch.zeros(1, 16, 16, dtype=torch.bool)
COLUMNS = NOTHING.clone()
COLUMNS[..., [0, 3, 5, 7, 8, 9, 13]] = True
KINDS = {
    "bottom-up": {"encoder": "bottom-up"},
    "ordinary": {"encoder": "bottom-up", "decoder": "ordinary"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, make_model):
    """A comparator whose every weight matters."""
    return make_model(layers=1, **KINDS[request.param])


@pytest.fixture(scope="module")
def ordinary(make_model):
    return make_model(layers=1, **KINDS["ordinary"])


def run(model, kspace, mask, samples=0, sigma=0.0, **options):
    options = {"data_consistency": "none", "joint_steps": 0, **options}
    rows = [Row(k, samples - 1 if samples else None) for k in range(len(kspace))]
    return infer(model, kspace, mask, torch.full((len(kspace),), sigma), InferenceSettings(**options), rows)


def objective(model: IAHVAE, kspace, mask, bins, latents):
    """J of whitened latents, written out."""
    error = ((bins - kspace).abs().square() * mask).sum(dim=(1, 2)) / (2 * model.config.sigma**2)
    return error + torch.stack([e.square().flatten(1).sum(1) for e in latents]).sum(0) / 2


def test_the_encoder_alone_is_the_pass_of_training(kind, kspace):
    found = run(kind, kspace, EVERYTHING, method="amortized").bins
    taught = posterior_pass(kind, kspace, teacher=torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(found, taught.bins, rtol=1e-4, atol=1e-4)


def test_training_on_holes_is_inference_with_holes(kind, kspace):
    found = run(kind, kspace, COLUMNS, method="amortized").bins
    error = (found - kspace).abs().square().sum(dim=(1, 2)) / kind.power[~COLUMNS[0]].sum()
    torch.testing.assert_close(
        masked_ratio(kind, kspace, COLUMNS.expand(3, -1, -1)), error, rtol=1e-3, atol=0
    )


def test_training_on_blocks_is_inference_of_blocks(ordinary, kspace):
    found = run(ordinary, kspace, block_mask(4, 16)[None], method="amortized", data_consistency="hard").bins
    expected = complete(ordinary, 2, block_context(ordinary, kspace, 2), crop(kspace, 4))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid"])
def test_unmeasured_bins_are_never_seen(kind, kspace, noise, method):
    changed = kspace + ~COLUMNS * complex_noise((3, 16, 16), 5.0, noise)
    a, b = (run(kind, values, COLUMNS, method=method, steps=3).bins for values in (kspace, changed))
    assert torch.equal(a, b)


def test_filling_changes_nothing(kind, kspace):
    a, b = (run(kind, kspace, COLUMNS, imputation_rounds=n, steps=2, sigma=0.1).bins for n in (1, 3))
    assert torch.equal(a, b)


@pytest.mark.parametrize("schedule", ["joint", "sequential"])
@pytest.mark.parametrize("method", ["iterative", "hybrid"])
def test_refinement_lowers_the_error_of_the_measured_bins(ordinary, kspace, method, schedule):
    none, few, more = (
        run(ordinary, kspace, COLUMNS, method=method, schedule=schedule, steps=n) for n in (0, 3, 12)
    )
    errors = [((r.bins - kspace).abs().square() * COLUMNS).sum(dim=(1, 2)) for r in (none, few, more)]
    assert (errors[1] < errors[0]).all()
    assert (errors[2] < errors[1]).all()
    layers = 5 if schedule == "sequential" else 1
    assert (few.steps[:, -1] == 3 * layers).all()
    assert (few.steps[:, :-1] == 0).all()
    assert few.steps.dtype == torch.int64


def test_all_latents_at_once_end_where_the_objective_is_flat(ordinary, kspace):
    """The gradient of J, written out, at the minimum that is found: every latent explains every measured bin."""
    seen = []
    descend = WholeLadder.descend

    def spy(ladder, index, h, whitened=None, first=0):
        seen.append(whitened)
        return descend(ladder, index, h, whitened, first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WholeLadder, "descend", spy)
        found = run(ordinary, kspace, COLUMNS, steps=100).bins
    latents = [e.detach().requires_grad_() for e in seen[-1]]
    ladder = WholeLadder(ordinary)

    def gradients(latents):
        bins = ladder.band(0, ladder.descend(0, ladder.start(3), latents)[0])
        total = objective(ordinary, kspace, COLUMNS, bins, latents).sum()
        return bins, torch.cat([g.flatten() for g in torch.autograd.grad(total, latents)])

    bins, final = gradients(latents)
    torch.testing.assert_close(bins.detach(), found, rtol=1e-4, atol=1e-4)
    _, start = gradients([torch.zeros_like(e).requires_grad_() for e in latents])
    assert final.norm() < 0.02 * start.norm()


@pytest.mark.parametrize("method", ["amortized", "hybrid"])
def test_rows_do_not_know_each_other(ordinary, kspace, method):
    centre = block_mask(4, 16)[None]
    masks = torch.cat([COLUMNS, centre, EVERYTHING, ~centre])
    kspace = kspace[[0, 1, 2, 0]]
    together = run(ordinary, kspace, masks, method=method, steps=5).bins
    for k in range(4):
        alone = run(ordinary, kspace[k : k + 1], masks[k : k + 1], method=method, steps=5).bins
        torch.testing.assert_close(together[k], alone[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid"])
def test_where_nothing_is_measured_the_prior_s_mean_is_found(kind, kspace, method):
    expected = complete(kind, -1, None, kspace[:, :0, :0])
    found = run(kind, kspace, NOTHING, method=method, steps=3).bins
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["amortized", "iterative", "hybrid"])
def test_samples_come_in_pairs_about_the_estimate(kind, kspace, method):
    one, two = (run(kind, kspace, COLUMNS, samples=k, sigma=0.1, method=method, steps=8).bins for k in (1, 2))
    mean = run(kind, kspace, COLUMNS, sigma=0.1, method=method, steps=8).bins
    cold = run(kind, kspace, COLUMNS, samples=1, sigma=0.1, method=method, steps=8, temperature=0.0).bins
    torch.testing.assert_close(cold, mean)
    assert (one != two).all()
    assert ((one + two) / 2 - mean).norm() < 0.7 * (one - mean).norm()


def test_data_consistency(kind, kspace):
    hard = run(kind, kspace, COLUMNS, sigma=0.2, steps=2, data_consistency="hard").bins
    none = run(kind, kspace, COLUMNS, sigma=0.2, steps=2).bins
    soft = run(kind, kspace, COLUMNS, sigma=0.2, steps=2, data_consistency="soft").bins
    here = COLUMNS.expand(3, -1, -1)
    assert torch.equal(hard[here], kspace[here])
    if kind.config.decoder == "ordinary":  # contexts of a separable one see consistent bins in any case
        assert torch.equal(hard[~here], none[~here])
    weight = 0.3**2 / (0.3**2 + 0.2**2)
    torch.testing.assert_close(soft[here], (none + weight * (kspace - none))[here])


def test_algorithm_1_is_refused(ordinary, kspace):
    with pytest.raises(UsageError, match="method paper: this model's decoder is not separable"):
        run(ordinary, kspace, COLUMNS, method="paper")
