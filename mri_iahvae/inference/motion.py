"""Motion between two images: a smooth displacement, found coarse to fine by maximum likelihood in k-space.

As in MR-MOTUS (Huttinga et al., Physics in Medicine and Biology 65, 015004, 2020) the residual is of bins, so that each
counts by what is known of it. Displacements are in units of `grid_sample`: 2 is the field of view.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mri_iahvae.inference.lbfgs import minimise
from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c, ifft2c, to_channels, to_complex

_LEVELS = ((16, 2), (32, 4), (64, 8))  # sides of the block of bins, and of the grid of control points
_STEPS = 12  # of L-BFGS at each
_UNIT = 1 / 64  # of the field of view's half: a pixel of 128 x 128
_DEVIATION = 0.3  # of the difference of neighbouring control points, in these units


def moved(image: Tensor, displacement: Tensor) -> Tensor:
    """The image that has at x what `image` has at x + displacement; bicubic, zero outside of the field of view.

    Args:
        image: complex64 (B, H, W).
        displacement: float (B, 2, g, g), along columns and rows, at control points whose outer ones are the corners.
    """
    batch, *size = image.shape
    identity = torch.eye(2, 3, device=image.device).expand(batch, 2, 3)
    grid = F.affine_grid(identity, [batch, 1, *size], align_corners=False)
    field = F.interpolate(displacement, size, mode="bicubic", align_corners=True)
    where = grid + field.movedim(1, -1)
    return to_complex(F.grid_sample(to_channels(image), where, mode="bicubic", align_corners=False))


def find_displacement(moving: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The displacement that moves one image onto another; batch elements are independent.

    It minimises half the weighted squared residual of the bins plus the negative log prior of a smooth displacement:
    first of B_16 with 2 x 2 control points, then of larger blocks with more points.

    Args:
        moving: complex64 (B, H, W), bins.
        target: the same, of what it is moved onto.
        weight: float (B, H, W), inverse variance of each bin's residual per part; zero where nothing is known.

    Returns:
        float (B, 2, g, g), as `moved` takes it.
    """
    points = torch.zeros(len(moving), 2, 2, 2, device=moving.device)
    for side, grid in _LEVELS:
        start = F.interpolate(points, (grid, grid), mode="bicubic", align_corners=True)
        parts = ifft2c(crop(moving, side)), crop(target, side), crop(weight, side)
        evaluate = partial(_evaluate, *parts, start.shape)
        found, _ = minimise(evaluate, start.flatten(1), torch.ones_like(start).flatten(1), steps=_STEPS)
        points = found.view(start.shape)
    return _UNIT * points


def _evaluate(
    image: Tensor, target: Tensor, weight: Tensor, shape: torch.Size, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Objective (B,) and gradient (B, n) at control points in one vector, in units of `_UNIT`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        points = x.view(shape)
        residual = torch.view_as_real(fft2c(moved(image, _UNIT * points)) - target).square().sum(-1)
        rough = torch.stack([points.diff(dim=axis).square().flatten(1).sum(1) for axis in (-2, -1)]).sum(0)
        value = (weight * residual).flatten(1).sum(1) / 2 + rough / (2 * _DEVIATION**2)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
