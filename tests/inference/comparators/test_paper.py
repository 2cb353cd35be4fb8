"""Algorithm 1 as printed: plain gradient descent with step size 0.001 on -log N(z) + L1, by hand."""

import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.inference.comparators.paper import descend
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.infer import Problem
from mri_iahvae.inference.measurement import Datum
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop


@pytest.fixture(params=[1, 4])
def problem(make_model, kspace, noise, request):
    """Each of three scales of models with one layer and with four, about 60 % of it measured."""

    def make(index):
        model = make_model(layers=request.param)
        scale = model.scales[index]
        s, r = scale.side, scale.resolution
        mask = model.decomposition.ring(index) & ((torch.rand(3, s, s, generator=noise) < 0.6) | (s == 1))
        h, features = torch.randn(2, 3, model.config.scales[index].channels, r, r, generator=noise)
        variance = torch.where(mask, 0.0, torch.inf)
        y = Datum(torch.where(mask, crop(kspace, s), 0), variance, mask.float().mean((1, 2)))
        return Problem(scale, h, y, [], 0.1, lambda: (features, scale.encode(h, features)))

    return make


def found(problem, steps):
    """Latents, their steps, and the last context."""
    settings, draws = InferenceSettings("paper", steps=steps), Draws(0, 1.0, (), torch.device("cpu"))
    result = descend(problem, [], [], settings, draws)
    assert result.steps.tolist() == [steps * len(problem.scale.latents)] * 3
    return problem.scale.run(problem.h, result.latents)


def by_hand(problem, steps):
    """The last context, and the objective of each layer before every step and after the last."""
    scale, h, y, (features, _) = problem.scale, problem.h, problem.y, problem.encoded
    layers, history = scale.ladder(), []
    for j, layer in enumerate(layers):
        prior, residual = layer.prior(h)
        z, last, held = prior.at(layer.posterior(h, features)[0]), None, []
        last = layer.advance(h, residual, z)
        for later in layers[j + 1 :]:  # amortized, given the refined context, and held
            p, r = later.prior(last)
            held.append(p.at(later.posterior(last, features)[0]))
            last = later.advance(last, r, held[-1])
        values = []
        for step in range(steps + 1):
            z = z.detach().requires_grad_()
            last = layer.advance(h, residual, z)
            for later, latent in zip(layers[j + 1 :], held, strict=True):
                last = later.advance(last, later.prior(last)[1], latent)
            error = scale.bins(last) - y.value
            value = torch.where(y.known, error.real.abs() + error.imag.abs(), 0).sum(dim=(1, 2))
            value = value - Normal(prior.mean, prior.std).log_prob(z).sum(dim=(1, 2, 3))
            values.append(value.detach())
            if step < steps:
                z = z - 0.001 * torch.autograd.grad(value.sum(), z)[0]
        history.append(values)
        h = layer.advance(h, residual, z.detach())
    return h, history


@pytest.mark.parametrize("index", [0, 2, 4])
def test_plain_gradient_descent_layer_by_layer(problem, index):
    problem = problem(index)
    start, end = found(problem, 0), found(problem, 6)
    expected, history = by_hand(problem, 6)
    torch.testing.assert_close(start, problem.encoded[1].last, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(end, start, rtol=1e-5, atol=1e-5)
    assert not end.requires_grad
    assert all((values[-1] < values[0]).all() for values in history)
