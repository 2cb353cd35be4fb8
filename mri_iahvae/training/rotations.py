"""What a decomposition makes of training slices before there is a network; and rotations that make the most of it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.orthogonal import haar_angles, steps
from mri_iahvae.kspace.separable import cascade

_RATE = 0.05
_BATCH = 64  # slices of a step


def code_length(decomposition: Decomposition, kspace: Tensor, sigma: float) -> float:
    """Nats per real dimension of slices under independent Gaussians, one variance for each scale.

    That is what a decomposition gives by itself (coding gain), before there are networks.

    Args:
        decomposition: of the grid.
        kspace: complex (B, N, N), canonical.
        sigma: of white noise that is added per real and imaginary part, as the likelihood has it: without it, empty
            scales would cost less than nothing.
    """
    coefficients, energies = decomposition.from_kspace(kspace), []
    for index in range(len(decomposition.sides)):
        block = decomposition.block(coefficients, index)
        energies.append(block.abs().double().square().sum())
    counts = [side**2 for side in decomposition.sides]
    return float(_nats(torch.stack(energies) / len(kspace), counts, sigma))


def learn_rotations(kspace: Tensor, sigma: float, rounds: int, seed: int = 0) -> tuple[float, ...]:
    """Angles of `orthogonal.Rotations` that minimise the code length of slices, by Adam from Haar wavelets.

    Args:
        kspace: complex (B, N, N), canonical.
        sigma: as in `code_length`.
        rounds: steps, each on slices drawn at random.
        seed: of the draws.
    """
    images, size = ifft2c(kspace).to(torch.complex64), kspace.shape[-1]
    angles = haar_angles(size).requires_grad_()
    optimizer = torch.optim.Adam([angles], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    generator = torch.Generator().manual_seed(seed)
    sides = [2**k for k in range(size.bit_length())]
    for _ in range(rounds):
        chosen = images[torch.randint(len(images), (_BATCH,), generator=generator)]
        matrix = cascade(steps(size, angles))[-1].to(chosen)
        power = (matrix @ chosen @ matrix.mT).abs().square().mean(0)
        loss = _nats(torch.stack([power[:side, :side].sum() for side in sides]), [s**2 for s in sides], sigma)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return tuple(angles.tolist())


def _nats(energies: Tensor, counts: Sequence[int], sigma: float) -> Tensor:
    """Code length per real dimension, from mean energies of blocks B_1, B_2 ... and their coefficients' numbers."""
    number = torch.tensor(counts, dtype=energies.dtype)
    zero = torch.zeros(1, dtype=energies.dtype)
    of_rings, energy = number.diff(prepend=zero), energies.diff(prepend=zero)
    variance = energy / (2 * of_rings) + sigma**2  # of each real and imaginary part
    return 0.5 * (of_rings * (2 * math.pi * math.e * variance).log()).sum() / number[-1]
