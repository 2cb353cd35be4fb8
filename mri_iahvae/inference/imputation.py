"""What the encoder sees of a scale that is measured in part, or with noise: holes filled, noise filtered.

Decode, put the measured bins in, encode, and again, as in Prost et al., arXiv 2303.11217, but per scale: the encoder
is scale-causal, so the fill never disturbs coarser scales.
"""

import torch
from torch import Tensor

from mri_iahvae.inference.measurement import Band
from mri_iahvae.inference.posterior import whiten
from mri_iahvae.model.iahvae import IAHVAE, Encode, add_band


def encode_imputed(
    model: IAHVAE,
    encode: Encode,
    index: int,
    h: Tensor,
    features: Tensor | None,
    seen: Tensor,
    band: Band,
    rounds: int,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Encode a scale, its holes filled from the prior mean first and from the posterior mean in later rounds.

    Noise is taken from what the encoder sees by a Wiener filter about the prior mean.

    Args:
        model: the model.
        encode: its encoder, as `IAHVAE.encoder_for` gives it.
        index: scale index.
        h: context that the scale starts from.
        features: encoder features of the coarser scale, None at scale 1.
        seen: complex (B, s/2, s/2), bins of the coarser scales.
        band: the scale.
        rounds: of filling and encoding; one is enough where there are no holes.

    Returns:
        Encoder features; mean and standard deviation of each layer's posterior, whitened by its prior.
    """
    measured = filled = band.data
    if band.holes or band.noise is not None:
        expected = model.band(index, model.descend(index, h)[0])
        if band.noise is not None:  # the prior's deviation is the band's gain, per part
            noise, signal = band.noise.square()[:, None, None], model.gains[index].square() / 2
            measured = band.data + noise / (noise + signal) * (expected - band.data)
        filled = torch.where(band.mask, measured, expected)
    for _ in range(rounds if band.holes else 1):
        here = encode(index, add_band(seen, filled), features)
        last, priors, posteriors, _ = model.amortize(index, h, here)
        if band.holes:
            filled = torch.where(band.mask, measured, model.band(index, last))
    return here, *whiten(priors, posteriors, band.share)
