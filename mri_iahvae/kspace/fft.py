"""The one Fourier transform of the project: centred and unitary.

Unitary means that the pixel-wise squared error equals the k-space squared error (Parseval), and that white
noise in one domain is white in the other with the same standard deviation.
"""

import torch
from torch import Tensor

_AXES = (-2, -1)


def fft2c(image: Tensor) -> Tensor:
    """Complex image (..., H, W), any H and W, to k-space of the same shape and dtype, DC at (H // 2, W // 2)."""
    image = torch.fft.ifftshift(image, dim=_AXES)  # first: the other order is right for even sizes only
    return torch.fft.fftshift(torch.fft.fft2(image, norm="ortho"), dim=_AXES)


def ifft2c(kspace: Tensor) -> Tensor:
    """k-space (..., H, W) to image: the inverse and the adjoint of `fft2c`."""
    kspace = torch.fft.ifftshift(kspace, dim=_AXES)
    return torch.fft.fftshift(torch.fft.ifft2(kspace, norm="ortho"), dim=_AXES)


def to_channels(image: Tensor) -> Tensor:
    """Complex (B, H, W) to real (B, 2, H, W): real and imaginary part as channels."""
    return torch.view_as_real(image).permute(0, 3, 1, 2)


def to_complex(channels: Tensor) -> Tensor:
    """Real (B, 2, H, W) to complex64 (B, H, W)."""
    last = channels.float().permute(0, 2, 3, 1)
    # Not `contiguous`: it leaves the strides of 1 x 1 bins as they are, which PyTorch 2.6 does not view as complex.
    return torch.view_as_complex(last.clone(memory_format=torch.contiguous_format))
