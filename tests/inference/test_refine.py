"""Refinement: the objective is the negative log posterior of the latents, and it falls."""

import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.refine import objective, refine
from mri_iahvae.kspace.bands import band_mask, crop

SIGMA = 0.4


@pytest.fixture(params=[0, 2, 4])
def index(request):
    """Scales 1, 4, and 16."""
    return request.param


@pytest.fixture
def task(model, kspace, index, noise):
    """Arguments of `objective`: half of a band measured, from a random context."""
    s, scale = 2**index, model.config.scales[index]
    h = torch.randn(3, scale.channels, s // scale.patch, s // scale.patch, generator=noise)
    whitened = [torch.randn(3, *model.latent_shape(index), generator=noise) for _ in model.layers(index)]
    mask = band_mask(s) & ((torch.rand(3, s, s, generator=noise) < 0.5) | (s == 1))
    return model, index, h, whitened, crop(kspace, s) * mask, mask / (2 * SIGMA**2)


def at(task, **changes):
    names = ("model", "index", "h", "whitened", "data", "weight")
    return {**dict(zip(names, task, strict=True)), **changes}


def values(task, **changes):
    return objective(**at(task, **changes))


def test_objective_is_the_negative_log_posterior(task, noise):
    """Up to a constant: its differences are those of -log p(e) - log p(y | e), by torch.distributions."""
    model, index, h, whitened, data, weight = task

    def negative_log_joint(latents):
        bins = model.band(index, model.descend(index, h, latents)[0])
        total = -sum(Normal(0, 1).log_prob(e).flatten(1).sum(1) for e in latents)
        for part in (torch.real, torch.imag):
            likelihood = Normal(part(bins), SIGMA).log_prob(part(data))
            total = total - torch.where(weight > 0, likelihood, 0).flatten(1).sum(1)
        return total

    other = [e + 0.3 * torch.randn(e.shape, generator=noise) for e in whitened]
    expected = negative_log_joint(other) - negative_log_joint(whitened)
    found = values(task, whitened=other) - values(task)
    assert (found.abs() > 1e-3).all()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(values(task).max()))


def test_objective_ignores_unmeasured_bins(task, noise):
    *_, data, weight = task
    change = (weight == 0) * torch.randn(data.shape, generator=noise)
    assert torch.equal(values(task), values(task, data=data + change))
    assert torch.equal(
        values(task, weight=0 * weight), sum(e.square().flatten(1).sum(1) for e in task[3]) / 2
    )


def test_gradient_agrees_with_finite_differences(task, noise):
    whitened = [e.clone().requires_grad_() for e in task[3]]
    gradients = torch.autograd.grad(values(task, whitened=whitened).sum(), whitened)
    for layer, gradient in enumerate(gradients):
        for _ in range(3):
            direction = torch.randn(gradient.shape, generator=noise)
            direction = direction / direction.norm() + gradient / gradient.norm()
            ends = []
            for step in (0.02, -0.02):
                moved = [e + step * direction * (k == layer) for k, e in enumerate(task[3])]
                ends.append(values(task, whitened=moved).double().sum())
            slope = (ends[0] - ends[1]) / 0.04
            assert slope.item() == pytest.approx(float((gradient * direction).sum()), rel=0.03)


def test_refinement_lowers_the_objective_of_each_slice(task):
    before = values(task)
    few, many = (values(task, whitened=refined(task, steps)) for steps in (5, 60))
    assert (few < before).all()
    assert (many < few).all()


def test_refinement_finds_a_stationary_point(task):
    whitened = [e.requires_grad_() for e in refined(task, 400)]
    gradients = torch.autograd.grad(values(task, whitened=whitened).sum(), whitened)
    start = [e.clone().requires_grad_() for e in task[3]]
    first = torch.autograd.grad(values(task, whitened=start).sum(), start)
    assert sum(g.norm() for g in gradients) < 0.05 * sum(g.norm() for g in first)


def test_no_steps_return_the_start(task):
    for found, start in zip(refined(task, 0), task[3], strict=True):
        assert torch.equal(found, start)


def test_the_start_is_left_alone(task):
    copies = [e.clone() for e in task[3]]
    refined(task, 3)
    assert all(torch.equal(a, b) for a, b in zip(copies, task[3], strict=True))
    assert not any(e.requires_grad for e in task[3])


def test_without_data_refinement_returns_to_the_prior_mean(task):
    model, index, h, whitened, data, weight = task
    result = refine(model, index, h, whitened, data, 0 * weight, steps=200, rate=0.1)
    assert max(float(e.abs().max()) for e in result) < 0.05


def test_a_slice_does_not_depend_on_its_batch(task):
    model, index, h, whitened, data, weight = task
    together = refined(task, 10)
    for k in range(3):
        one = slice(k, k + 1)
        alone = refine(
            model, index, h[one], [e[one] for e in whitened], data[one], weight[one], steps=10, rate=0.1
        )
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a, b[one], rtol=1e-3, atol=1e-3)


def refined(task, steps):
    return refine(*task, steps=steps, rate=0.1)
