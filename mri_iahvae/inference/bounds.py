"""What the model adds to a slice is bounded by what training slices hold, or the scan itself.

On slices unlike its training (noise alone, a point) a network extrapolates, and every scale builds on what coarser ones
have made of the slice: without a bound bins grow by orders of magnitude from scale to scale. What is inferred of a
scale is therefore accepted within two bounds only, which ordinary slices keep away from:

- The latents lie within the prior's reach. Whitened latents are standard normal under the prior; their root mean square
  over a layer is at most `REACH`. A chi-square of n degrees of freedom exceeds 25 n with a probability below 1e-6,
  whatever n is.
- The energy of the scale's bins is at most `MARGIN`^2 times that of training slices, or that which was measured of the
  scale where it is larger. Canonical form has brought the coarse bins' measured energy to that of training slices, so
  this is relative to them.

A batch element of which a scale is out of bounds takes the prior mean there, and zero where that is out of bounds too.
Each element is judged alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.inference.measurement import Datum
from mri_iahvae.model.protocols import Scale

REACH = 5.0
"""Largest root mean square of a layer's whitened latents."""

MARGIN = 4.0
"""Largest root mean square of a scale's bins over that of training slices."""


def out_of_bounds(
    scale: Scale, latents: Sequence[Tensor], predicted: Tensor, y: Datum, temperature: float
) -> Tensor:
    """Batch elements whose latents or bins are out of bounds, or not finite: bool (B,).

    Args:
        scale: the scale.
        latents: whitened, of each layer, (B, latent, r, r).
        predicted: complex (B, s, s), the model's bins, zero outside the scale's ring, canonical units.
        y: what is known of the scale.
        temperature: of draws; above 1 it widens the bounds by as much.
    """
    wider = max(1.0, temperature) ** 2
    far = torch.stack([e.flatten(1).square().mean(1) for e in latents]).amax(0)
    most = MARGIN**2 * wider * _energy(y.value).clamp_min(scale.energy())
    within = (far <= REACH**2 * wider) & (_energy(predicted) <= most)  # NaN is not
    return ~within


def bounded(
    scale: Scale, h: Tensor, latents: list[Tensor], y: Datum, temperature: float
) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Decode a scale within bounds: what was inferred, or the prior mean, or zero, for each batch element.

    The context h, (B, C, r, r), is that which the scale starts from; other arguments are as in `out_of_bounds`.

    Returns:
        The last context; the predicted bins, complex (B, s, s); the latents; and which elements were out of bounds,
        bool (B,).
    """
    last = scale.run(h, latents)
    predicted = scale.bins(last)
    out = out_of_bounds(scale, latents, predicted, y, temperature)
    if not bool(out.any()):
        return last, predicted, latents, out
    last = choose(out, scale.run(h), last)
    latents = [choose(out, torch.zeros_like(e), e) for e in latents]
    predicted = choose(out, scale.bins(last), predicted)
    lost = out & out_of_bounds(scale, latents, predicted, y, temperature)
    return last, choose(lost, torch.zeros_like(predicted), predicted), latents, out


def _energy(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).square().flatten(1).sum(1)


def choose(where: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Batch elements of `a` where bool (B,) is true, of `b` elsewhere."""
    return torch.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b)
