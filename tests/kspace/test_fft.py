import numpy as np
import pytest
import torch

from mri_iahvae.kspace.fft import fft2c, ifft2c, to_channels, to_complex

SIZES = [(8, 8), (9, 8), (8, 9), (9, 7), (1, 1), (1, 6), (64, 37), (640, 371)]


def random_image(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def dft(n):
    """The matrix of the centred unitary transform, written out from its definition."""
    k = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)


@pytest.mark.parametrize("size", SIZES)
def test_is_the_centred_unitary_dft(size):
    image = random_image(*size)
    expected = dft(size[0]) @ image.numpy() @ dft(size[1])
    np.testing.assert_allclose(fft2c(image).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_inverse_undoes_forward_and_forward_undoes_inverse(size):
    image = random_image(*size)
    torch.testing.assert_close(ifft2c(fft2c(image)), image)
    torch.testing.assert_close(fft2c(ifft2c(image)), image)


def test_leading_axes_are_a_batch_and_the_dtype_stays():
    batch = random_image(2, 3, 9, 8).to(torch.complex64)
    kspace = fft2c(batch)
    assert kspace.dtype == torch.complex64
    torch.testing.assert_close(kspace[1, 2], fft2c(batch[1, 2]))


def test_channels_are_real_and_imaginary_part():
    image = random_image(2, 9, 7).to(torch.complex64)
    channels = to_channels(image)
    torch.testing.assert_close(channels[:, 0], image.real)
    torch.testing.assert_close(channels[:, 1], image.imag)
    torch.testing.assert_close(to_complex(channels), image)
    assert to_complex(channels.bfloat16()).dtype == torch.complex64
