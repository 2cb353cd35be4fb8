"""The prior as a proximal operator, in sigpy's own apps."""

import numpy as np
import pytest

from mri_iahvae import Prior

sigpy = pytest.importorskip("sigpy")
app = pytest.importorskip("sigpy.app")
from mri_iahvae.adapters.sigpy import PriorProx  # noqa: E402


class LinearPrior:
    """Images are white and of variance v per part: minus log density |x|^2 / (2 v)."""

    variance = 2.0

    def denoise(self, image, sigma):
        return self.variance / (self.variance + sigma**2) * image


@pytest.fixture
def coils(coil_maps, rng):
    """The operator of 4 coils on (16, 16) with a mask, and data of noise."""
    mask = rng.random((16, 16)) < 0.6
    sense = sigpy.linop.Multiply((16, 16), coil_maps(4, 16, 16))
    fourier = sigpy.linop.FFT(sense.oshape, axes=(-2, -1))
    operator = sigpy.linop.Multiply(fourier.oshape, mask.astype(np.complex64)) * fourier * sense
    data = rng.normal(size=(2, *operator.oshape))
    return operator, (data[0] + 1j * data[1]).astype(np.complex64)


def test_it_is_the_operator_of_a_gaussian_prior(rng):
    """g = sigma^2 |x|^2 / (2 v), as sigpy's own L2Reg."""
    prox = PriorProx((16, 16), LinearPrior(), 0.5)
    own = sigpy.prox.L2Reg((16, 16), 0.5**2 / LinearPrior.variance)
    x = (rng.normal(size=(16, 16)) + 1j * rng.normal(size=(16, 16))).astype(np.complex64)
    for alpha in (0.1, 1, 7.0):
        np.testing.assert_allclose(prox(alpha, x), own(alpha, x), rtol=1e-5)
    assert prox(1, x).dtype == np.complex64
    assert repr(prox) == "<[16, 16] PriorProx Prox>."


@pytest.mark.parametrize("solver", ["GradientMethod", "ADMM"])
def test_apps_find_the_posterior_mean_of_a_gaussian_prior(coils, solver):
    """Least squares with the prior is ridge regression, which sigpy solves by conjugate gradients."""
    operator, data = coils
    prox = PriorProx((16, 16), LinearPrior(), 0.5)
    weight = 0.5**2 / LinearPrior.variance
    ridge = app.LinearLeastSquares(operator, data, lamda=weight, show_pbar=False, max_iter=30).run()
    found = app.LinearLeastSquares(
        operator, data, proxg=prox, solver=solver, show_pbar=False, max_iter=100
    ).run()
    np.testing.assert_allclose(found, ridge, atol=2e-4)


def test_it_denoises_with_the_sigma_of_the_step(checkpoint, head_kspace):
    prior = Prior(checkpoint, "cpu", method="amortized")
    image = head_kspace(1)[0].astype(np.complex128)
    found = PriorProx((32, 32), prior, 0.2)(0.25, image)
    assert found.dtype == np.complex128
    np.testing.assert_array_equal(found, prior.denoise(image, 0.1))
    with pytest.raises(RuntimeError, match="PriorProx"):
        PriorProx((16, 16), prior, 0.2)(0.25, image)
