import pytest
import torch

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise import complex_noise, rms


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sigma_is_the_standard_deviation_of_each_part():
    noise = complex_noise((4, 128, 128), 0.3, generator())
    assert noise.dtype == torch.complex64
    for part in (noise.real, noise.imag):
        assert part.std() == pytest.approx(0.3, rel=0.01)
        assert abs(part.mean()) < 0.005
    assert abs((noise.real * noise.imag).mean()) < 0.001
    kurtosis = noise.real.double().pow(4).mean() / noise.real.double().square().mean() ** 2
    assert kurtosis == pytest.approx(3.0, abs=0.1)  # Gaussian


def test_noise_is_white_with_the_same_sigma_in_image_space():
    image = ifft2c(complex_noise((4, 64, 64), 0.3, generator()))
    assert image.real.std() == pytest.approx(0.3, rel=0.02)
    assert image.imag.std() == pytest.approx(0.3, rel=0.02)
    neighbours = (image[:, 1:] * image[:, :-1].conj()).mean().abs()
    assert neighbours < 0.03 * 0.3**2 * 2


def test_one_sigma_per_slice():
    sigma = torch.tensor([0.1, 2.0])
    noise = complex_noise((2, 64, 64), sigma[:, None, None], generator())
    torch.testing.assert_close(rms(noise) / 2**0.5, sigma, rtol=0.03, atol=0.0)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_rms(scale):
    kspace = torch.full((2, 9, 7), scale * (3 + 4j), dtype=torch.complex64)
    torch.testing.assert_close(rms(kspace), torch.full((2,), scale * 5.0))
