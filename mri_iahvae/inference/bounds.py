"""What the model adds to a slice is bounded by what training slices hold, or the scan itself.

On slices unlike its training (noise alone, a point) a network extrapolates, and every scale builds on what coarser ones
have made of the slice: without a bound bins grow by orders of magnitude from scale to scale. What is inferred of a
scale is therefore accepted within two bounds only, which ordinary slices keep away from:

- The latents lie within the prior's reach. Whitened latents are standard normal under the prior; their root mean square
  over a layer is at most `REACH`. A chi-square of n degrees of freedom exceeds 25 n with a probability below 1e-6,
  whatever n is.
- The band's energy is at most `MARGIN`^2 times that of training slices, or that which was measured of the band where it
  is larger. Canonical form has brought the coarse bins' measured energy to that of training slices, so this is relative
  to them.

A batch element of which a scale is out of bounds takes the prior mean there, and zero where that is out of bounds too.
Each element is judged alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import band_mask
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.ordinary import WholeLadder

REACH = 5.0
"""Largest root mean square of a layer's whitened latents."""

MARGIN = 4.0
"""Largest root mean square of a band's bins over that of training slices."""


def out_of_bounds(
    latents: Sequence[Tensor], predicted: Tensor, measured: Tensor, energy: Tensor, temperature: float
) -> Tensor:
    """Batch elements whose latents or bins are out of bounds, or not finite: bool (B,).

    Args:
        latents: whitened, of each layer, (B, latent, r, r).
        predicted: complex (B, s, s), the model's bins of a band, zero elsewhere, canonical units.
        measured: complex (B, s, s), measured bins of the band, zero elsewhere.
        energy: float (), that of training slices in the band, canonical units (`band_energy`).
        temperature: of draws; above 1 it widens the bounds by as much.
    """
    wider = max(1.0, temperature) ** 2
    far = torch.stack([e.flatten(1).square().mean(1) for e in latents]).amax(0)
    most = MARGIN**2 * wider * torch.maximum(energy, _energy(measured))
    within = (far <= REACH**2 * wider) & (_energy(predicted) <= most)  # NaN is not
    return ~within


def band_energy(model: IAHVAE, index: int) -> Tensor:
    """Mean energy of training slices in the band of a scale, canonical units: float ()."""
    gain = model.gains[index]
    return gain.square() * band_mask(2**index, gain.device).sum()


def bounded(
    model: IAHVAE | WholeLadder,
    index: int,
    start: Tensor,
    h: Tensor,
    latents: list[Tensor],
    measured: Tensor,
    energy: Tensor,
    temperature: float,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """What was inferred of a scale, or the prior mean, or zero, for each batch element.

    Args:
        model: decodes the latents.
        index: scale index.
        start: (B, C, r, r), context that the scale starts from.
        h: (B, C, r, r), last context of the scale.
        latents: whitened, of each layer, (B, latent, r, r).
        measured: complex (B, s, s), measured bins of the band, zero elsewhere.
        energy: as in `out_of_bounds`, and so is `temperature`.
        temperature: see there.

    Returns:
        The last context, the latents, the predicted bins, complex (B, s, s), and which elements were out of bounds,
        bool (B,).
    """
    predicted = model.band(index, h)
    out = out_of_bounds(latents, predicted, measured, energy, temperature)
    if not bool(out.any()):
        return h, latents, predicted, out
    h = _choose(out, model.descend(index, start)[0], h)
    latents = [torch.where(out[:, None, None, None], 0, e) for e in latents]
    predicted = _choose(out, model.band(index, h), predicted)
    lost = out & out_of_bounds(latents, predicted, measured, energy, temperature)
    return h, latents, _choose(lost, torch.zeros_like(predicted), predicted), out


def _energy(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).square().flatten(1).sum(1)


def _choose(where: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b)
