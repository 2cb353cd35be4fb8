import math

import pytest
import torch

from mri_iahvae.inference.joint import decode, encode, infer_jointly
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.decomposition import FourierBands
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.orthogonal import Rotations
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from tests.inference.runs import inference, run
from tests.linear_model import LinearModel

SETTINGS = InferenceSettings("hybrid", 100, data_consistency="soft")
SOME = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(3)) < 0.5


def posterior_mean(model, kspace, mask, sigma):
    """Closed form: coefficients c = b + A e + noise of the model, k-space F c, of which some bins are measured."""
    n = model.decomposition.size
    basis = torch.eye(2 * n * n).unflatten(1, (2, n, n))
    columns = model.flat(model.decomposition.from_kspace(torch.complex(basis[:, 0], basis[:, 1])))
    priors = [scale.prior() for scale in model.scales]
    matrix = columns @ torch.block_diag(*(a for _, a in priors))
    mean = columns @ torch.cat([b for b, _ in priors])
    covariance = matrix @ matrix.mT + model.sigma**2 * torch.eye(2 * n * n)
    known = mask.flatten().repeat(2)
    data = torch.cat([kspace.real.flatten(), kspace.imag.flatten()])
    seen = covariance[known][:, known] + sigma**2 * torch.eye(int(known.sum()))
    found = mean + covariance[:, known] @ torch.linalg.solve(seen, (data - mean)[known])
    return torch.complex(*found.unflatten(0, (2, n, n)))


@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("decomposition", [FourierBands(4), Rotations(4)], ids=["fourier", "haar"])
def test_of_a_linear_model_it_is_the_posterior_mean(decomposition, sigma):
    model = LinearModel(decomposition)
    kspace = complex_noise((1, 4, 4), 1.0, torch.Generator().manual_seed(0))
    found, steps = infer_jointly(model, kspace, SOME, torch.tensor([sigma]), SETTINGS)
    torch.testing.assert_close(found[0], posterior_mean(model, kspace[0], SOME[0], sigma), rtol=0, atol=5e-3)
    assert 0 < int(steps) <= 100  # no step along the gradient lowers J any further


def test_where_scales_separate_it_agrees_with_algorithm_1():
    """Of k-space's bands under every mask; of others where everything is measured, and not under a mask."""
    kspace = complex_noise((1, 4, 4), 1.0, torch.Generator().manual_seed(0))
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    for decomposition, mask in ((FourierBands(4), SOME), (Rotations(4), everything)):
        assert decomposition.separates(mask)
        model = LinearModel(decomposition)
        together, _ = infer_jointly(model, kspace, mask, torch.tensor([0.5]), SETTINGS)
        found = run(
            model, decomposition.from_kspace(kspace), mask, noise=0.5, steps=100, data_consistency="soft"
        )
        torch.testing.assert_close(together, decomposition.to_kspace(found), rtol=0, atol=5e-3)
    assert not Rotations(4).separates(SOME)


def test_what_measured_bins_hold():
    model = LinearModel(Rotations(4))
    kspace = complex_noise((2, 4, 4), 1.0, torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.0, 0.5])
    none, soft, hard = (
        infer_jointly(model, kspace, SOME, sigma, InferenceSettings("hybrid", 5, data_consistency=kind))[0]
        for kind in ("none", "soft", "hard")
    )
    assert torch.equal(hard[:, ~SOME[0]], none[:, ~SOME[0]])
    torch.testing.assert_close(hard[:, SOME[0]], kspace[:, SOME[0]])
    torch.testing.assert_close(soft[0], hard[0])
    weight = model.sigma**2 / (model.sigma**2 + 0.25)
    torch.testing.assert_close(soft[1], none[1] + weight * (hard[1] - none[1]))
    assert not torch.allclose(soft[1], hard[1])


@pytest.fixture
def model():
    torch.manual_seed(0)
    scales, gains = (ScaleConfig(1, 8, 4),) * 4, (4.0, 3.0, 2.0, 1.0)
    model = IAHVAE(ModelConfig(scales, decomposition="rotations", gains=gains))
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return model.eval().requires_grad_(requires_grad=False)


def test_a_network_is_refined(model):
    """J falls, the data are met better, and an element's result does not depend on its batch."""
    kspace = 3 * complex_noise((2, 8, 8), 1.0, torch.Generator().manual_seed(0))
    mask = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.6
    exact = torch.zeros(2)

    def misfit(steps):
        settings = InferenceSettings("hybrid", steps, data_consistency="none")
        found, _ = infer_jointly(model, kspace, mask, exact, settings)
        return found, ((found - kspace) * mask).abs().square().sum(dim=(1, 2))

    (_, before), (found, after) = misfit(0), misfit(20)
    assert (after < 0.7 * before).all()
    settings = InferenceSettings("hybrid", 20, data_consistency="none")
    alone, _ = infer_jointly(model, kspace[1:], mask, exact[1:], settings)
    torch.testing.assert_close(alone[0], found[1], rtol=1e-3, atol=1e-3)


def test_the_decoder_is_that_of_algorithm_1(model):
    """Latents of its amortized pass decode to its bins."""
    kspace = 3 * complex_noise((2, 8, 8), 1.0, torch.Generator().manual_seed(0))
    coefficients, everything = model.decomposition.from_kspace(kspace), torch.ones(1, 8, 8, dtype=torch.bool)
    found = inference(model, coefficients, everything, "amortized", data_consistency="none")
    mean, std = encode(model, kspace)
    # Of finer scales the contexts differ: data, decoded.
    torch.testing.assert_close(mean[0], found.latents[0][0])
    assert all(math.isfinite(float(r.sum())) and (r > 0).all() for r in std)
    bins = model.decomposition.from_kspace(decode(model, mean))
    torch.testing.assert_close(bins[:, 4, 4], found.bins[:, 4, 4])
