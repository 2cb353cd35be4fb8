"""`benchmarks/neighbours/dvp_vae`: bounds by brute force, what conditioning and aggregation are, what is trained."""

import copy
import io
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.distributions import Normal, kl_divergence

from benchmarks.neighbours.coarse_diffusion import Diffusion
from benchmarks.neighbours.dvp_vae import comparison, hvae, training
from benchmarks.neighbours.dvp_vae.__main__ import main
from benchmarks.neighbours.dvp_vae.hvae import HVAE, bernoulli, logistic
from benchmarks.neighbours.dvp_vae.images import Data, read_cifar10
from benchmarks.neighbours.dvp_vae.pseudo_input import PseudoInput, cosines
from benchmarks.neighbours.ia_vae import omniglot
from mri_iahvae.errors import ScanError
from mri_iahvae.model.gaussian import whitened_kl
from tests.commands import run


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Uint8 (64, 1, 28, 28), of 0 and 255, with a gradient of brightness."""
    bright = torch.linspace(0.1, 0.9, 28)
    return ((torch.rand(64, 1, 28, 28, generator=generator()) < bright) * 255).byte()


@pytest.fixture
def data(images):
    return Data(images[:48], images[48:], bernoulli, parameters=1, start=0.0, block=5)


def model_of(data, *, u=True, aggregated=True):
    pseudo = PseudoInput(data.training, data.block, 0.2)
    samples = pseudo.draw(data.training.repeat(4, 1, 1, 1) / 255, generator(3))
    return training.DvpVae(data, pseudo if u else None, samples, aggregated=aggregated, seed=0)


@pytest.mark.parametrize("side", [4, 7, 28])
def test_the_cosines_are_orthonormal(side):
    torch.testing.assert_close(cosines(side) @ cosines(side).mT, torch.eye(side), atol=1e-6, rtol=0)
    n, k = torch.arange(side) + 0.5, torch.arange(1, side)[:, None]
    torch.testing.assert_close(cosines(side)[1:], (2 / side) ** 0.5 * torch.cos(math.pi / side * k * n))


def test_the_pseudo_input_is_normalised_and_has_an_inverse(images):
    x = images / 255
    low = PseudoInput(images, 5, 0.2).of(x)
    torch.testing.assert_close(low.mean(0), torch.zeros(25), atol=1e-4, rtol=0)
    torch.testing.assert_close(low.std(0), torch.ones(25), atol=1e-4, rtol=0)
    whole = PseudoInput(images, 28, 0.2)  # of all frequencies, which lose nothing
    torch.testing.assert_close(whole.image(whole.of(x), 28), x, atol=1e-4, rtol=0)


def test_a_low_pass_image_is_the_projection_and_keeps_grey(images):
    x, pseudo = images / 255, PseudoInput(images, 5, 0.2)
    basis = cosines(28)[:5]
    projection = basis.mT @ basis @ x @ basis.mT @ basis
    torch.testing.assert_close(pseudo.image(pseudo.of(x), 28), projection, atol=1e-5, rtol=0)
    for side in (5, 7):
        grey = pseudo.image(pseudo.of(torch.full_like(x, 0.3)), side)
        torch.testing.assert_close(grey, torch.full_like(grey, 0.3))


def test_the_term_of_u_is_the_divergence_from_a_gaussian(images):
    """By an exact prior, and by a diffusion that has learnt nothing, which is right for a Gaussian."""
    pseudo = PseudoInput(images, 2, 0.2)
    x = images.repeat(30, 1, 1, 1)
    expected = float(whitened_kl(pseudo.of(x / 255), torch.full((len(x), 4), math.log(0.2))).mean())
    diffusion = Diffusion(torch.randn(50, 4, generator=generator()), width=8, blocks=1)
    diffusion.mean.zero_()
    diffusion.factor.copy_(torch.eye(4))
    u = pseudo.draw(x / 255, generator())
    diffusion.requires_grad_(requires_grad=False)
    exact = pseudo.negative_entropy - float(Normal(0.0, 1.0).log_prob(u).sum(1).mean())
    assert exact == pytest.approx(expected, abs=0.03)
    bound = diffusion.bound(u, generator(), training.INSTANTS, times=200).mean()
    assert pseudo.negative_entropy + float(bound) == pytest.approx(expected, abs=0.12)


def test_the_divergences_are_those_of_torch(data):
    model = model_of(data, u=False).hvae
    x = data.training[:4] / 255
    terms = model(x, None, generator(), bernoulli)
    layer = model.layers[0]
    features = F.avg_pool2d(model.fine(model.stem(F.pixel_unshuffle(x, hvae.FOLD))), 2, ceil_mode=True)
    h = model.start.expand(4, -1, 4, 4)
    prior, _ = layer.prior(h)
    offset, log_ratio = layer.posterior(h, model.coarse(features))
    posterior = Normal(prior.at(offset), prior.std * log_ratio.exp())
    expected = kl_divergence(posterior, Normal(prior.mean, prior.std))
    torch.testing.assert_close(terms.divergences[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.means[0], posterior.mean)
    total = terms.misfit + sum(one.sum(dim=(1, 2, 3)) for one in terms.divergences)
    torch.testing.assert_close(terms.negative_bound(), total)


def test_conditioning_begins_at_the_model_without():
    """Zero weights on the low-pass images leave the bound of the model without u, whose other weights are the same."""
    torch.manual_seed(0)
    plain = HVAE((1, 28), 1, conditioned=False, aggregated=True)
    torch.manual_seed(0)
    conditioned = HVAE((1, 28), 1, conditioned=True, aggregated=True)
    x = (torch.rand(3, 1, 28, 28) > 0.5).float()
    low_pass = [torch.randn(3, 1, side, side) for side in plain.sides]
    expected = plain(x, None, generator(), bernoulli)
    found = conditioned(x, low_pass, generator(), bernoulli)
    torch.testing.assert_close(found.negative_bound(), expected.negative_bound(), rtol=0, atol=0)
    for number, convolution in enumerate(conditioned.condition):
        torch.nn.init.normal_(convolution.weight)
        found = conditioned(x, low_pass, generator(), bernoulli)
        for layer in range(
            number, len(plain.sides)
        ):  # prior and posterior of this layer, and of all after it
            assert not torch.allclose(found.means[layer], expected.means[layer])
        torch.nn.init.zeros_(convolution.weight)


def test_aggregation_is_the_mean_of_contributions():
    torch.manual_seed(0)
    model = HVAE((1, 28), 1, conditioned=False, aggregated=True)
    latents = [torch.randn(2, hvae.LATENT, side, side) for side in model.sides]
    expected = torch.zeros(2, hvae.SCALE.channels, 7, 7)
    for z, contribute in zip(latents, model.contribute, strict=True):
        large = F.interpolate(z, size=7, mode="bilinear")  # commutes with a map of each pixel
        expected += torch.einsum("oi,bihw->bohw", contribute.weight[..., 0, 0], large) / len(latents)
        expected += contribute.bias[:, None, None] / len(latents)
    torch.testing.assert_close(model.aggregate(latents), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("aggregated", [True, False])
def test_what_the_likelihood_sees(aggregated):
    """The last context, or nothing of it."""
    torch.manual_seed(0)
    model = HVAE((1, 28), 1, conditioned=False, aggregated=aggregated)
    x = (torch.rand(3, 1, 28, 28) > 0.5).float()
    before = model(x, None, generator(), bernoulli).misfit
    torch.nn.init.normal_(model.layers[-1].block.expand.weight)
    assert torch.equal(model(x, None, generator(), bernoulli).misfit, before) == aggregated


def test_the_likelihood_of_a_fair_coin():
    x = (torch.rand(3, 1, 28, 28) > 0.5).float()
    torch.testing.assert_close(bernoulli(torch.zeros_like(x), x), torch.full((3,), 784 * math.log(2)))


def test_the_logistic_levels_have_probabilities_that_sum_to_one():
    levels = torch.arange(256).reshape(256, 1, 1, 1) / 255
    for mean, log_scale in ((0.0, 0.0), (0.4, 2.0), (-0.3, -3.0)):
        outputs = torch.tensor([mean, log_scale]).reshape(1, 2, 1, 1).expand(256, 2, 1, 1)
        found = (-logistic(outputs, levels)).exp()
        assert float(found.sum()) == pytest.approx(1, abs=1e-4)
        edges = (torch.arange(255) + 0.5).double() / 255
        cumulative = torch.sigmoid((edges - mean - 0.5) / math.exp(log_scale - 2))
        expected = torch.diff(cumulative, prepend=torch.zeros(1), append=torch.ones(1)).float()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_the_prior_of_u_has_no_part_in_training_the_rest(data):
    """So priors of u are compared exactly: with the same hierarchy."""
    model, other = model_of(data), model_of(data)
    other.prior = Diffusion(torch.randn(100, 25), width=4, blocks=1)
    start = copy.deepcopy(model.state_dict())
    for one in (model, other):
        training.fit(one, data.training, 3, 0)
    for name, value in model.hvae.state_dict().items():
        torch.testing.assert_close(value, other.hvae.state_dict()[name], rtol=0, atol=0)
    changed = {
        name.split(".")[0] for name, value in model.state_dict().items() if (value != start[name]).any()
    }
    assert changed == {"hvae", "prior"}


def test_a_step_without_a_finite_gradient_is_not_made(data, monkeypatch):
    model = model_of(data)
    start = copy.deepcopy(model.hvae.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr(hvae.Terms, "negative_bound", lambda terms: terms.misfit * math.nan)
        assert training.fit(model, data.training, 2, 0).skipped == 2
    for name, value in model.hvae.state_dict().items():
        torch.testing.assert_close(value, start[name], rtol=0, atol=0)
    monkeypatch.setattr(training, "CLIP", 1e-3)
    assert training.fit(model, data.training, 2, 0).clipped == 2


def test_training_lowers_the_bound(data):
    model = model_of(data)
    before = training.score(model, data.held_out)
    training.fit(model, data.training, 30, 0)
    after = training.score(model, data.held_out)
    assert after["misfit"] + sum(after["layers"]) < before["misfit"] + sum(before["layers"])


def test_latents_that_equal_the_prior_are_not_active(data):
    model = model_of(data, u=False)
    for layer in model.hvae.layers:
        torch.nn.init.zeros_(layer.posterior_block.expand.weight)
    found = training.score(model, data.held_out)
    assert found["layers"] == [0, 0, 0]
    assert found["informed"] == 0
    of_coarse = model.hvae.layers[0].posterior_block.expand
    torch.nn.init.ones_(of_coarse.bias)  # a divergence, the same for all images
    found = training.score(model, data.held_out)
    assert found["informed"] == pytest.approx(16 / 114)
    assert found["layers"][0] > 1


def test_gains_are_paired():
    def row(misfit, **u):
        return {"misfit": misfit, "layers": [1.0, 2.0], "u": u}

    rows = {
        "u and aggregation": [row(10.0, diffusion=5.0, Gaussian=7.0), row(20.0, diffusion=5.0, Gaussian=7.5)],
        "aggregation": [row(16.0), row(27.0)],
    }
    pair = {"u": comparison.COMPARED["u"], "g": comparison.COMPARED["diffusion, not a Gaussian"]}
    found = {name: comparison.gain(rows, *models) for name, models in pair.items()}
    assert found["u"]["gain"] == pytest.approx(1.5)
    assert found["u"]["deviation"] == pytest.approx(0.5**0.5)
    assert found["g"]["gain"] == pytest.approx(2.25)
    # One degree of freedom: the t distribution is Cauchy's, and t = 2.25 / 0.25.
    assert found["g"]["p"] == pytest.approx(1 - 2 / math.pi * math.atan(9))


def jpeg_archive(path, count, shape=(32, 32, 3)):
    files = []
    for seed in range(count):
        stream = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG", quality=100)
        files.append(stream.getvalue())
    offset = np.cumsum([0, *(len(file) for file in files)])
    np.savez(path, jpeg=np.frombuffer(b"".join(files), np.uint8), offset=offset)
    return path


def test_both_commands_store_a_row_for_each_seed(tmp_path, images, monkeypatch):
    monkeypatch.setattr(omniglot, "HELD_OUT", 8)
    monkeypatch.setattr(comparison, "SAMPLES", 400)
    np.savez(tmp_path / "characters.npz", images=images[:, 0].repeat(2, 1, 1).numpy())
    options = ("--seeds", 2, "--steps", 2, "--json", tmp_path / "out.json")
    shown = run(main, "omniglot", tmp_path / "characters.npz", *options).stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found["rows"]) == list(comparison.KINDS)
    assert all(len(of_seeds) == 2 for of_seeds in found["rows"].values())
    assert set(found["gains"]) == set(comparison.COMPARED)
    assert shown.count("\n") == 2 + 3 + 3 + len(comparison.COMPARED)
    train, test = (jpeg_archive(tmp_path / f"{name}.npz", count) for name, count in (("a", 40), ("b", 6)))
    options = ("--steps", 2, "--held-out", 5, "--only", "aggregation", "--json", tmp_path / "out.json")
    run(main, "cifar10", train, test, *options)
    assert len(json.loads((tmp_path / "out.json").read_text())["rows"]["aggregation"]) == 1


def test_jpeg_files_are_read_in_order(tmp_path):
    path = jpeg_archive(tmp_path / "a.npz", 5)
    data = read_cifar10(path, path, 2)
    assert data.shape == (3, 32)
    torch.testing.assert_close(data.held_out, data.training[:2])
    with np.load(path) as archive:
        one = archive["jpeg"][archive["offset"][1] : archive["offset"][2]].tobytes()
    expected = np.asarray(Image.open(io.BytesIO(one)))
    np.testing.assert_array_equal(data.training[1].permute(1, 2, 0).numpy(), expected)


def test_wrong_files_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    message = run(main, "cifar10", tmp_path / "x.npz", tmp_path / "x.npz", code=1).output
    assert "expected an npz file with `jpeg` and `offset`" in message
    small = jpeg_archive(tmp_path / "small.npz", 2, (16, 16, 3))
    with pytest.raises(ScanError, match="colour images of 32 x 32"):
        read_cifar10(small, small, 1)
