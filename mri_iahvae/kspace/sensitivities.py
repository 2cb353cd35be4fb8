"""Coil sensitivities: known ones, or from the calibration region, the fully measured centre of k-space: ESPIRiT.

Uecker et al., ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI, 2014. Patches of the calibration region
span a space of few dimensions. Seen from the image, the projector onto that space is one matrix per pixel, whose
eigenvector of eigenvalue 1 holds the sensitivities there. The matrices are trigonometric polynomials of low degree, so
they are evaluated on a coarse grid, and their eigenvectors interpolated.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import crop, recentre
from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.coils import combine, virtual_coil
from mri_iahvae.kspace.fft import ifft2c

_LEAST = 4  # bins a side: patches of 2 or 3 still overlap
_MOST = 32  # more bins take time, and sensitivities are smooth
_PATCH = 5
_SIGNAL = 0.015  # singular values below this fraction of the largest are noise
_GRID = 64
_ALIGNMENTS = 20
_RIDGE = 1e-4
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Coils:
    """Sensitivities and virtual coil of a batch of slices.

    Attributes:
        sensitivities: complex64 (B, C, H, W), sum_c |S_c|^2 = 1; their common phase is the one that brings
            sum_c w_c S_c closest to 1.
        weights: complex64 (B, C), w, of the virtual coil (`coils.virtual_coil`).
        eigenvalue: float32 (B, H, W), 1 where the calibration region explains the image, smaller in the background.
    """

    sensitivities: Tensor
    weights: Tensor
    eigenvalue: Tensor


def calibration_region(mask: Tensor) -> tuple[int, int]:
    """Height and width of the largest centred block of a mask (H, W) that is fully measured, at most 32 each.

    Raises:
        UsageError: less than 4 x 4 bins.
    """
    height, width = mask.shape
    best = (0, 0)
    for rows in range(1, min(height, _MOST) + 1):
        missing = (~mask[centre_block(height, rows)].all(dim=0)).nonzero().flatten() - width // 2
        # As in `centre_block`: an even number of columns has one more before DC than after it.
        free = torch.where(missing < 0, -2 * missing - 1, 2 * missing)
        columns = min(int(free.min()) if len(free) else width, _MOST)
        best = max(best, (rows, columns), key=lambda side: (min(side) >= _LEAST, side[0] * side[1]))
    if min(best) < _LEAST:
        needed = f"a fully measured centre of k-space, at least {_LEAST}x{_LEAST} bins"
        advice = "keep more central lines (--center-fraction), or give a mask that does"
        raise UsageError(f"coil sensitivities need {needed}, and the mask has {best[0]}x{best[1]}: {advice}")
    return best


def calibrate(kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> Coils:
    """Sensitivities and virtual coil of each slice.

    Args:
        kspace: complex64 (B, C, H, W).
        mask: bool (H, W), true where measured.
        noise_sigma: float (B,), of every coil, per real and imaginary part, in the units of `kspace`; zero for none.
    """
    height, width = mask.shape
    region = crop(kspace, *calibration_region(mask))
    # Squares of scanner units could leave float32's range.
    unit = region.abs().amax(dim=(1, 2, 3)).clamp_min(_TINY)
    region = region / unit[:, None, None, None]
    grid = min(height, _GRID), min(width, _GRID)
    maps, eigenvalue = _espirit(region, noise_sigma / unit, grid)
    images = ifft2c(recentre(region, *grid))
    weights, maps = _aligned(maps, images)
    rows = _interpolation(height, grid[0]).to(kspace.device)
    columns = _interpolation(width, grid[1]).to(kspace.device)
    maps = rows.to(maps.dtype) @ maps @ columns.to(maps.dtype).T
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True).clamp_min(_TINY)
    return Coils(maps, weights, rows @ eigenvalue @ columns.T)


def known_coils(maps: Tensor, kspace: Tensor) -> Coils:
    """Sensitivities that are known, scaled so that sum_c |S_c|^2 = 1 where they are not zero, and a virtual coil.

    Args:
        maps: complex64 (B, C, H, W), of any scale; their common phase is kept.
        kspace: complex64 (B, C, H, W), zero where not measured.
    """
    norm = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    maps = maps / norm.clamp_min(_TINY)
    images = ifft2c(kspace / kspace.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY))
    return Coils(maps, _closest(maps, images, _gram(images)), (norm[:, 0] > 0).float())


def _espirit(region: Tensor, noise_sigma: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Sensitivities (B, C, h, w), of any phase per pixel, and their eigenvalues (B, h, w), on a coarse grid."""
    batch, coils = region.shape[:2]
    sides = [min(_PATCH, (side + 1) // 2) for side in region.shape[2:]]
    patches = region.unfold(2, sides[0], 1).unfold(3, sides[1], 1)  # (B, C, rows, columns, p, q)
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    values, vectors = torch.linalg.eigh(patches.mH @ patches)
    # The largest singular value of patches that are all noise: of a matrix of white noise, sum of the sides' roots.
    edge = 2 * noise_sigma.square() * (patches.shape[1] ** 0.5 + patches.shape[2] ** 0.5) ** 2
    kept = values > torch.maximum(_SIGNAL**2 * values[:, -1], edge)[:, None]
    projector = ((vectors * kept[:, None]) @ vectors.mH).conj()
    projector = projector.reshape(batch, coils, *sides, coils, *sides)

    # A matrix per pixel: the sum over all pairs of bins of a patch, by their distance.
    spectrum = region.new_zeros(batch, coils, coils, *(2 * side - 1 for side in sides))
    for y in range(sides[0]):
        for x in range(sides[1]):
            rows = slice(sides[0] - 1 - y, 2 * sides[0] - 1 - y)
            columns = slice(sides[1] - 1 - x, 2 * sides[1] - 1 - x)
            spectrum[..., rows, columns] += projector[:, :, :, :, :, y, x].permute(0, 1, 4, 2, 3)
    matrices = ifft2c(recentre(spectrum, *grid)) * math.sqrt(grid[0] * grid[1]) / math.prod(sides)
    values, vectors = torch.linalg.eigh(matrices.permute(0, 3, 4, 1, 2))
    return vectors[..., -1].permute(0, 3, 1, 2), values[..., -1]


def _aligned(maps: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (B, C) of the virtual coil, and the sensitivities in its phase.

    The common phase of the sensitivities is free. In turn, the virtual coil is fitted to the combined image by least
    squares, and its phase is given to the sensitivities: that brings both as close as constant weights can.
    """
    gram = _gram(images)
    weights = torch.linalg.eigh(gram)[1][..., -1]  # the coil that gathers most energy
    for _ in range(_ALIGNMENTS):
        angle = virtual_coil(maps, weights).angle()
        maps = maps * torch.polar(torch.ones_like(angle), -angle)[:, None]
        weights = _closest(maps, images, gram)
    return weights, maps


def _gram(images: Tensor) -> Tensor:
    """Products of the coil images (B, C, h, w) with one another, (B, C, C), with a ridge that makes them regular."""
    pixels = images.flatten(2)
    gram = pixels.conj() @ pixels.mT
    energy = gram.diagonal(dim1=1, dim2=2).real.sum(dim=1).clamp_min(_RIDGE)
    return gram + _RIDGE * torch.diag_embed(energy[:, None].expand(gram.shape[:2]))


def _closest(maps: Tensor, images: Tensor, gram: Tensor) -> Tensor:
    """Weights (B, C) of the virtual coil that is closest to the combined image of the coils."""
    target = combine(images, maps).flatten(1)
    return torch.linalg.solve(gram, images.flatten(2).conj() @ target[..., None])[..., 0]


def _interpolation(fine: int, coarse: int) -> Tensor:
    """Linear interpolation between the pixels of two grids over one field of view, float32 (fine, coarse)."""
    place = (torch.arange(fine) - fine // 2) * (coarse / fine) + coarse // 2
    distance = (place[:, None] - torch.arange(coarse) + coarse / 2) % coarse - coarse / 2
    return (1 - distance.abs()).clamp_min(0)
