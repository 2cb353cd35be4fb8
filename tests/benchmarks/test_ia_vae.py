"""`benchmarks/neighbours/ia_vae`: derivatives, bounds and posteriors by brute force; hypernetworks add to weights."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from benchmarks.neighbours.ia_vae import mri, omniglot, stacked, synthetic, toy
from benchmarks.neighbours.ia_vae.__main__ import main
from benchmarks.neighbours.ia_vae.hypernetwork import HyperNetwork, layers_of, modulated
from mri_iahvae.training.guide_tasks import random_measurements
from tests.commands import run


@pytest.fixture
def points():
    return toy.draw(200, torch.Generator().manual_seed(0))


@pytest.fixture
def gaussians(points):
    """Means near the truth and log sigmas, of 200 points."""
    noise = torch.Generator().manual_seed(1)
    mean = points[:, :2] + 0.2 * torch.randn(200, 2, generator=noise)
    return mean.double(), torch.randn(200, 2, generator=noise).double() - 2


def test_the_decoder_is_that_of_the_paper():
    z = torch.randn(5, 2)
    expected = z @ torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    expected[:, 2] += z.prod(1)
    torch.testing.assert_close(toy.decoded(z), expected)


def test_the_bound_is_exact(points, gaussians):
    """Gauss-Hermite quadrature is exact for polynomials, which log p(x, z) is."""
    mean, log_sigma = gaussians
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(6))
    grid, weight = torch.cartesian_prod(nodes, nodes), torch.outer(weights, weights).flatten() / (2 * math.pi)
    z = mean + log_sigma.exp() * grid[:, None]
    joint = (weight[:, None] * toy.log_joint(points.double(), z)).sum(0)
    entropy = log_sigma.sum(-1) + math.log(2 * math.pi) + 1
    torch.testing.assert_close(toy.elbo(points.double(), mean, log_sigma), joint + entropy)


def test_the_bound_of_a_linear_model_is_its_evidence():
    """Where z2 is all but known to be -1, x is linear in z1, and its best Gaussian is the posterior."""
    x = torch.tensor([[0.3, -1.0, -1.0]], dtype=torch.float64)
    mean, log_sigma = toy.best_gaussian(x)
    gap = toy.log_evidence(x, toy.best_gaussian(x, point=True)[0]) - toy.elbo(x, mean, log_sigma)
    assert 0 <= float(gap) < 0.01
    # (1 + z1)(1 + z2) - 1 and z2 + 1 both observe 1 + z2, around zero; of z1 there is one observation.
    assert float(mean[0, 0]) == pytest.approx(0.3 / 1.01, abs=0.01)
    assert float(log_sigma[0, 0].exp()) == pytest.approx(0.1 / 1.01**0.5, rel=0.01)


def test_the_divergence_is_that_of_torch(gaussians):
    mean, log_sigma = gaussians
    q = torch.distributions.Normal(mean, log_sigma.exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(toy.kl_to_prior(mean, log_sigma), expected)


def test_the_best_gaussian_has_the_largest_bound(points):
    x = points.double()
    mean, log_sigma = (part.requires_grad_() for part in toy.best_gaussian(x))
    for slope in torch.autograd.grad(toy.elbo(x, mean, log_sigma).sum(), (mean, log_sigma)):
        assert float(slope.abs().max()) < 1e-8
    evidence = toy.log_evidence(x, toy.best_gaussian(x, point=True)[0])
    assert bool((toy.elbo(x, mean, log_sigma) <= evidence).all())


def test_mode_curvature_and_evidence_by_brute_force(points):
    x = points[:4].double()
    mode = toy.best_gaussian(x, point=True)[0].requires_grad_()
    (slope,) = torch.autograd.grad(toy.log_joint(x, mode).sum(), mode)
    assert float(slope.abs().max()) < 1e-8
    hessian = torch.autograd.functional.hessian(lambda z: -toy.log_joint(x[0], z), mode[0].detach())
    torch.testing.assert_close(toy.curvature(x, mode.detach())[0], hessian)
    axis = torch.arange(-5, 5, 0.01, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    brute = torch.stack([toy.log_joint(one, grid).logsumexp(0) + 2 * math.log(0.01) for one in x])
    torch.testing.assert_close(toy.log_evidence(x, mode.detach()), brute, rtol=1e-6, atol=1e-6)


def weights_of(encoder, seeds):
    """Float64, away from where derivatives are small."""
    noise = np.random.default_rng(3)
    rows = np.stack([encoder.initial(seed) for seed in range(seeds)]).astype(float)
    return rows + 0.1 * noise.normal(size=rows.shape)


def batch_of(points, seeds):
    x = points[: 5 * seeds].double().numpy().reshape(seeds, 5, 3)
    return np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)


@pytest.mark.parametrize("encoder", [stacked.Plain(3), stacked.Modulated(weights_of(stacked.Plain(2), 2))])
def test_derivatives_are_those_of_the_bound(encoder, points):
    weights, x = weights_of(encoder, 2), batch_of(points, 2)
    draw = np.random.default_rng(4).normal(size=(2, 5, 2))

    def loss(weights):
        mean, log_sigma = torch.from_numpy(encoder.forward(weights, x)[0]).chunk(2, dim=-1)
        z = mean + log_sigma.exp() * torch.from_numpy(draw)
        misfit = (torch.from_numpy(x[..., :3]) - toy.decoded(z)).square().sum(-1) / (2 * toy.SIGMA**2)
        return (misfit + toy.kl_to_prior(mean, log_sigma)).mean(1).numpy()

    y, kept = encoder.forward(weights, x)
    found = encoder.backward(weights, x, kept, stacked.loss_gradient(x, draw, y))
    steps = 1e-6 * np.eye(weights.shape[1])
    brute = np.stack([(loss(weights + step) - loss(weights - step)) / 2e-6 for step in steps], axis=1)
    np.testing.assert_allclose(found, brute, rtol=1e-5, atol=1e-5)


def test_adam_is_that_of_torch():
    noise = np.random.default_rng(0)
    start = noise.normal(size=(2, 5)).astype(np.float32)
    ours = stacked.Adam(start.copy())
    weights = torch.from_numpy(start.copy()).requires_grad_()
    theirs = torch.optim.Adam([weights], lr=stacked.RATE)
    for _ in range(20):
        gradient = noise.normal(size=(2, 5)).astype(np.float32)
        ours.step(gradient)
        weights.grad = torch.from_numpy(gradient)
        theirs.step()
    np.testing.assert_allclose(ours.weights, weights.detach().numpy(), rtol=1e-6)


def test_a_plain_encoder_is_two_dense_layers(points):
    encoder = stacked.Plain(3)
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 4))
    found = torch.cat(stacked.posteriors(encoder, encoder.initial(7)[None], points.numpy()), dim=-1)[0]
    torch.testing.assert_close(found.float(), network(points), rtol=1e-5, atol=1e-5)
    assert [len(stacked.Plain(width).initial(0)) for width in (2, 8, 14)] == [20, 68, 116]


def test_modulations_are_added_to_the_weights(points):
    """Of each point, the IA-VAE encoder is the plain one with weights base + h([x; e_l])."""
    plain, base = stacked.Plain(2), weights_of(stacked.Plain(2), 1)
    encoder = stacked.Modulated(base)
    weights, x = weights_of(encoder, 1), batch_of(points, 1)
    of_x, of_block, embeddings = encoder.split(weights)
    found, _ = encoder.forward(weights, x)
    for number in range(5):
        h = x[0, number] @ of_x[0] + embeddings[0] @ of_block[0]  # (blocks, 8)
        heads = np.concatenate([h[1, :6].reshape(3, 2), h[2, :6].reshape(3, 2)], axis=1)
        own = base + np.concatenate([h[0], heads.ravel()])
        alone, _ = plain.forward(own, x[:, number : number + 1])
        np.testing.assert_allclose(found[:, number], alone[:, 0], rtol=1e-10)
    nothing, _ = encoder.forward(np.zeros_like(weights), x)
    np.testing.assert_array_equal(nothing, plain.forward(base, x)[0])
    assert len(encoder.initial(0)) == 48 + 6  # the paper's 68 less the base's 20; and the embeddings


@pytest.mark.parametrize("modulate", [False, True])
def test_seeds_train_as_if_alone(points, modulate):
    data = points[:128].numpy(), points[128:].numpy()
    base = np.stack([stacked.Plain(2).initial(seed) for seed in range(3)])
    encoder, alone = (stacked.Modulated(rows) if modulate else stacked.Plain(2) for rows in (base, base[1:2]))
    together = stacked.train(encoder, [0, 1, 2], *data, epochs=4, patience=2)
    single = stacked.train(alone, [1], *data, epochs=4, patience=2)
    np.testing.assert_allclose(together.weights[1], single.weights[0], rtol=1e-5, atol=1e-6)
    assert together.epochs[1] == single.epochs[0]
    assert np.abs(single.weights[0] - alone.initial(1)).max() > 1e-4


def test_training_stops_without_a_better_bound_and_keeps_the_best(points, monkeypatch):
    monkeypatch.setattr(stacked, "RATE", 0.0)  # the first epoch is the best
    encoder, data = stacked.Plain(2), points.numpy()
    trained = stacked.train(encoder, [0, 1], data[:64], data[64:], epochs=50, patience=3)
    assert trained.epochs == [4, 4]
    np.testing.assert_array_equal(trained.weights[1], encoder.initial(1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.Flatten(),
        nn.Linear(36, 5),
    ).eval()


def test_a_hypernetwork_makes_weights_of_each_instance(network):
    """The modulated network is the network with weights phi_0 + h of each instance's own; without h, the network."""
    layers = layers_of(network, nn.Linear, nn.Conv2d)
    hyper = HyperNetwork(layers, 7, 6)
    nn.init.normal_(hyper.output.weight, std=0.1)
    features, images = torch.randn(4, 7), torch.randn(4, 2, 8, 8)
    changes = hyper(features)
    names = dict(network.named_parameters())
    assert {name: change.shape[1:] for name, change in changes.items()} == {
        name: parameter.shape for name, parameter in names.items() if not name.startswith("1.")
    }
    with modulated(layers, changes):
        found = network(images)
    for number in range(4):
        own = {name: names[name] + change[number] for name, change in changes.items()}
        alone = functional_call(network, own, (images[number : number + 1],))
        torch.testing.assert_close(found[number : number + 1], alone, rtol=1e-4, atol=1e-5)
    plain = network(images)
    assert not torch.allclose(found, plain)
    with modulated(layers, {name: torch.zeros_like(change) for name, change in changes.items()}):
        torch.testing.assert_close(network(images), plain, rtol=0, atol=0)


def test_a_hypernetwork_begins_near_nothing(network):
    hyper = HyperNetwork(layers_of(network, nn.Linear, nn.Conv2d), 7, 32)
    assert float(hyper.output.weight.detach().std()) == pytest.approx(1e-3, rel=0.1)
    assert not hyper.output.bias.any()


def test_the_image_bound_of_a_fair_coin():
    """With logits of zero and the prior as posterior it is -784 log 2."""
    model = omniglot.VAE()
    for part in (model.encoder[-1], model.decoder[-1]):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    images = (torch.rand(3, 1, 28, 28) > 0.5).float()
    bound, divergence = model.bound(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(bound, torch.full((3,), -784 * math.log(2)))
    assert not divergence.any()


def test_a_frozen_encoder_stays_as_it_is():
    torch.manual_seed(0)
    model = omniglot.VAE().eval()
    model.adapt()
    before = copy.deepcopy(model.state_dict())
    images = (torch.rand(80, 1, 28, 28) > 0.5).float()
    groups = [{"params": part.parameters(), "lr": 1e-3} for part in (model.decoder, model.hypernetwork)]
    omniglot.fit(model, groups, images, 2, 0)
    changed = {
        name.split(".")[0] for name, value in model.state_dict().items() if (value != before[name]).any()
    }
    assert changed == {"decoder", "hypernetwork"}


def test_each_way_trains_what_it_says():
    model = mri.Adapted()
    model.add_hypernetwork()

    def trained(way):
        chosen = {id(parameter) for parameter in model.choose(way)}
        return {name for name, parameter in model.named_parameters() if id(parameter) in chosen}

    conditional = {name for name in trained("scale and shift") if ".adapt." in name or ".condition." in name}
    assert trained("scale and shift") - trained("none") == conditional
    assert trained("scale and shift, frozen base") - trained("kernels, frozen base") == conditional
    assert all(name.startswith("hypernetwork.") for name in trained("kernels, frozen base"))


@torch.no_grad()
def test_the_guide_with_kernels_knows_each_measurement_alone():
    torch.manual_seed(0)
    model = mri.Adapted()
    for step in model.guide.steps:
        nn.init.normal_(step.image.weight, std=0.1)
    task = random_measurements(torch.rand(3, 32, 32), torch.Generator().manual_seed(0))
    plain = model(task)
    model.add_hypernetwork()
    nn.init.normal_(model.hypernetwork.output.weight, std=0.01)
    found = model(task)
    alone = model(type(task)(*(part[1:2] for part in task)))
    torch.testing.assert_close(found[1:2], alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))
    assert float((found - plain).abs().max()) > 1e-2 * float(plain.abs().max())
    nn.init.zeros_(model.hypernetwork.output.weight)
    torch.testing.assert_close(model(task), plain, rtol=0, atol=0)


def test_synthetic_has_a_row_for_each_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "POINTS", (64, 32, 64))
    options = ("--seeds", 2, "--epochs", 2, "--figure", tmp_path / "two.png", "--json", tmp_path / "out.json")
    run(main, "synthetic", *options)
    found = json.loads((tmp_path / "out.json").read_text())
    assert [row.get("weights") for row in found["rows"].values()] == [20, 68, 116, 74, None]
    best = found["rows"]["best of each point"]
    assert max(found["rows"]["IA-VAE"]["elbo"]) < best["elbo"][0] < found["log_evidence"]
    assert best["density_ratio"][0] == pytest.approx(1, abs=0.01)
    assert (tmp_path / "two.png").stat().st_size > 1000


def test_omniglot_and_mri_have_a_row_for_each_seed(tmp_path):
    noise = np.random.default_rng(0)
    images = noise.integers(0, 256, (910, 28, 28), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    options = ("--seeds", 2, "--steps", 2)
    run(main, "omniglot", tmp_path / "images.npz", *options, "--more", 1, "--json", tmp_path / "o.json")
    found = json.loads((tmp_path / "o.json").read_text())
    assert [len(rows) for rows in found["rows"].values()] == [2, 2, 2, 2]
    assert set(found["gains"]) == set(found["rows"]) - {"IA-VAE"}
    slices = noise.integers(0, 256, (30, 64, 64), np.uint8)
    np.savez(tmp_path / "slices.npz", images=slices, subject=np.arange(30).astype(str))
    run(main, "mri", tmp_path / "slices.npz", *options, "--json", tmp_path / "m.json")
    found = json.loads((tmp_path / "m.json").read_text())
    assert all(len(rows) == 2 and rows[0]["nmse"] > 0 for rows in found["rows"].values())
    refused = run(main, "omniglot", tmp_path / "slices.npz", code=1).output
    assert "28 x 28" in refused
    assert len(refused.splitlines()) == 1
    (tmp_path / "text.npz").write_text("no archive")
    assert "npz" in run(main, "mri", tmp_path / "text.npz", code=1).output
