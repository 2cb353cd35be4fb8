"""Receive coils: the SENSE operator with its data step, a virtual coil, and combinations of coil images.

Every coil sees the image x times its sensitivity S_c; sensitivities are scaled so that sum_c |S_c|^2 = 1 wherever there
is signal. Noise is white and equal in all coils, so the combination sum_c conj(S_c) x_c has the noise of one coil.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c, ifft2c

_TINY = torch.finfo(torch.float32).tiny
_SOLVED = 1e-6  # of the first residual: float32's own accuracy


@dataclass(frozen=True)
class Sense:
    """The measurement M F S of one image by several coils (Pruessmann et al., SENSE, 1999).

    Attributes:
        sensitivities: complex64 (B, C, H, W).
        mask: bool (H, W), (B, 1, H, W) or (1, 1, H, W), true where measured; H may be 1 for columns, which costs less.
    """

    sensitivities: Tensor
    mask: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Measured bins of each coil, zero elsewhere: complex64 (B, H, W) to (B, C, H, W)."""
        return torch.where(self.mask, fft2c(self.sensitivities * image[:, None]), 0)

    def adjoint(self, kspace: Tensor) -> Tensor:
        """The adjoint of `forward`, (B, C, H, W) to (B, H, W); bins that are not measured do not count."""
        return combine(ifft2c(torch.where(self.mask, kspace, 0)), self.sensitivities)

    def normal(self, image: Tensor) -> Tensor:
        """`adjoint` after `forward`, complex64 (B, H, W); its eigenvalues lie between 0 and 1.

        A mask acts as a convolution of the image, which no shift changes: the transforms need not be centred, and run
        along the axes along which the mask differs.
        """
        axes = [axis for axis in (-2, -1) if self.mask.shape[axis] > 1]
        mask = torch.fft.ifftshift(self.mask, dim=axes)
        bins = mask * torch.fft.fftn(self.sensitivities * image[:, None], dim=axes)
        return combine(torch.fft.ifftn(bins, dim=axes), self.sensitivities)

    def data_step(self, kspace: Tensor, prior: Tensor, weight: Tensor, steps: int) -> Tensor:
        """Minimise sum_c |M F S_c x - y_c|^2 + sum_k weight_k |F (x - prior)|_k^2 by conjugate gradients.

        They start at the prior (B, H, W), so that few steps stay near it where the data y (B, C, H, W) determine
        little. The weight of each bin k, broadcastable to (B, H, W), is noise variance over the variance of the
        prior's error.
        """

        def normal(image: Tensor) -> Tensor:
            return self.normal(image) + ifft2c(weight * fft2c(image))

        return prior + conjugate_gradients(normal, self.adjoint(kspace) - self.normal(prior), steps)


def conjugate_gradients(normal: Callable[[Tensor], Tensor], target: Tensor, steps: int) -> Tensor:
    """Solve A x = b, complex (B, H, W), for each element of a batch, from zero; one that is solved stays as it is.

    `normal` applies A, Hermitian and positive definite (or semidefinite with b in its range) for each element.
    """
    unit = target.abs().amax(dim=(1, 2), keepdim=True).clamp_min(_TINY)  # squares stay in float32's range
    x, residual = torch.zeros_like(target), target / unit
    direction, energy = residual, _inner(residual, residual)
    enough = _SOLVED**2 * energy
    for _ in range(steps):
        image = normal(direction)
        going = energy > enough
        step = torch.where(going, energy / _inner(direction, image).clamp_min(_TINY), 0)
        x = x + step * direction
        residual = residual - step * image
        after = _inner(residual, residual)
        direction = residual + torch.where(going, after / energy.clamp_min(_TINY), 0) * direction
        energy = after
    return x * unit


def combine(images: Tensor, sensitivities: Tensor) -> Tensor:
    """sum_c conj(S_c) x_c, the image of least error where noise is white: complex (B, C, H, W) to (B, H, W)."""
    return (sensitivities.conj() * images).sum(dim=1)


def rss(images: Tensor) -> Tensor:
    """Root of the sum of squares over the coils, complex (B, C, H, W) to float (B, H, W): fastMRI's target."""
    return torch.linalg.vector_norm(images, dim=1)


def virtual_coil(kspace: Tensor, weights: Tensor) -> Tensor:
    """sum_c w_c y_c: k-space (B, C, H, W) of one coil, (B, H, W), measured where the coils are and nowhere else.

    The weights (B, C) are constants, so they commute with every mask. Weights that vary over the image, sensitivities
    above all, would mix measured with missing bins.
    """
    return torch.einsum("bc,bchw->bhw", weights, kspace)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Real part of each element's inner product, (B, H, W) to (B, 1, 1)."""
    return (a.real * b.real + a.imag * b.imag).sum(dim=(1, 2), keepdim=True)
