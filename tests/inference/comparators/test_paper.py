"""Algorithm 1 as printed: plain gradient descent with step size 0.001 on -log N(z) + L1."""

import pytest
import torch
from mri_iahvae.inference.paper import refine_layers
from torch.distributions import Normal

from mri_iahvae.kspace.bands import band_mask, crop


@pytest.fixture(params=[1, 4])
def model(make_model, request):
    return make_model(layers=request.param)


@pytest.fixture(params=[0, 2, 4])
def task(model, kspace, noise, request):
    """Index, context, features, measured bins and mask of a scale, some of it measured."""
    index = request.param
    s, scale = 2**index, model.config.scales[index]
    shape = 3, scale.channels, s // scale.patch, s // scale.patch
    mask = band_mask(s) & ((torch.rand(3, s, s, generator=noise) < 0.6) | (s == 1))
    h, features = (torch.randn(shape, generator=noise) for _ in range(2))
    return index, h, features, crop(kspace, s) * mask, mask


def l1(model, task, last):
    """|Re| + |Im| over the measured bins of each slice."""
    index, _, _, data, mask = task
    error = model.band(index, last) - data
    return torch.where(mask, error.real.abs() + error.imag.abs(), 0).sum(dim=(1, 2))


def objective(model, task, h, priors, latents, j):
    """That of layer j given the context `h` before it, later layers holding their latents."""
    index = task[0]
    layers = model.layers(index)
    prior, _ = layers[j].prior(h)
    last = h
    for k in range(j, len(layers)):
        last = layers[k].advance(last, layers[k].prior(last)[1], latents[k])
    value = -Normal(prior.mean, prior.std).log_prob(latents[j]).sum(dim=(1, 2, 3)) + l1(model, task, last)
    return value, last


def by_hand(model, task, steps):
    """Algorithm 1, and the objective of each layer before and after."""
    index, h, features, *_ = task
    layers = model.layers(index)
    history = []
    for j in range(len(layers)):
        # Amortized start of this layer and of the later ones, given the refined context.
        last, latents = h, [None] * len(layers)
        for k in range(j, len(layers)):
            prior, residual = layers[k].prior(last)
            latents[k] = layers[k].posterior(last, features, prior).mean
            last = layers[k].advance(last, residual, latents[k])
        values = []
        for _ in range(steps + 1):
            latents[j] = latents[j].detach().requires_grad_()
            value, _ = objective(model, task, h, None, latents, j)
            values.append(value.detach())
            (gradient,) = torch.autograd.grad(value.sum(), latents[j])
            if len(values) <= steps:
                latents[j] = latents[j] - 0.001 * gradient
        history.append(torch.stack(values))
        prior, residual = layers[j].prior(h)
        h = layers[j].advance(h, residual, latents[j].detach())
    return h, history


@pytest.mark.parametrize("steps", [1, 4])
def test_plain_gradient_descent_layer_by_layer(model, task, steps):
    found = refine_layers(model, *task, steps=steps)
    expected, _ = by_hand(model, task, steps)
    start = refine_layers(model, *task, steps=0)
    assert not torch.allclose(found, start, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not found.requires_grad


def test_no_steps_are_the_amortized_result(model, task):
    index, h, features, *_ = task
    torch.testing.assert_close(
        refine_layers(model, *task, steps=0), model.amortize(index, h, features)[0], rtol=1e-5, atol=1e-6
    )


def test_the_objective_of_each_layer_falls(model, task):
    _, history = by_hand(model, task, 8)
    for values in history:
        assert (values[-1] < values[0]).all()
    # And that history is the method's own: the scale's L1 is that of its result.
    found = refine_layers(model, *task, steps=8)
    torch.testing.assert_close(l1(model, task, found), l1(model, task, by_hand(model, task, 8)[0]))


def test_unmeasured_bins_play_no_part(model, task, noise):
    index, h, features, data, mask = task
    change = ~mask * torch.randn(data.shape, generator=noise)
    assert torch.equal(
        refine_layers(model, index, h, features, data, mask, 2),
        refine_layers(model, index, h, features, data + change, mask, 2),
    )
