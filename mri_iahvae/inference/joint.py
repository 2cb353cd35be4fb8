"""Refinement of all scales together: for a decomposition whose scales a mask couples (`Decomposition.separates`).

A measured bin then depends on several scales at once, and Algorithm 1, which settles one after the other, does not
apply. With the whitened latents e of all scales, h(e) the k-space that they decode to, and y the data,

    J(e) = |e|^2 / 2 + sum over measured bins |h(e) - y|^2 / (2 (sigma^2 + n))

is minimised by the same optimizers. Every evaluation runs the whole decoder and its gradient, all scales of it.
"""

import torch
from torch import Tensor

from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.refine import cut, flat, optimise
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.protocols import Latents, Model
from mri_iahvae.model.walk import Walk


@torch.no_grad()
def infer_jointly(
    model: Model, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, settings: InferenceSettings
) -> tuple[Tensor, Tensor]:
    """The most probable k-space of a batch, whatever the decomposition and the mask. Batch elements are independent.

    Refinement starts from what the encoder makes of the zero-filled image. No bounds are kept (`inference.bounds`).

    Args:
        model: in evaluation mode, weights without gradients.
        kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
        mask: bool (B, N, N) or (1, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero for none.
        settings: optimizer, steps, precision, and what measured bins of the result hold.

    Returns:
        k-space, complex64 (B, N, N), canonical, and the steps of each batch element, int64 (B,).
    """
    data = Estimate.of_data(kspace, mask.expand(kspace.shape), noise_sigma)
    weight = 0.5 / (model.sigma**2 + data.variance)  # zero where not measured
    with convolutions(kspace.device, settings.precision):
        start, std = encode(model, data.kspace)
        shapes = [e.shape for e in start]

        def objective(x: Tensor) -> Tensor:
            residual = to_channels(decode(model, cut(x, shapes)) - data.kspace).square().sum(1)
            return x.square().sum(1) / 2 + (weight * residual).flatten(1).sum(1)

        x, used = optimise(objective, flat(start), flat(std), settings)
        found = decode(model, cut(x, shapes))
    kept = {
        "none": torch.zeros_like(weight),
        "soft": 2 * model.sigma**2 * weight,
        "hard": data.variance.isfinite(),
    }
    return found + kept[settings.data_consistency] * (data.kspace - found), used


def encode(model: Model, kspace: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Means and deviations of the encoder's posterior, of every layer of every scale, (B, latent, r, r).

    Canonical k-space, complex (B, N, N), is taken as it is, what is zero included.
    """
    coefficients = model.decomposition.from_kspace(kspace)
    walk, mean, std = Walk(model, len(kspace), kspace.device), [], []
    session = model.encoder.begin(coefficients, torch.ones_like(coefficients, dtype=torch.bool))
    for scale, h in walk:
        block = model.decomposition.block(coefficients, scale.index)
        encoded = scale.encode(h, session.features(scale, block))
        walk.extend(encoded.last, scale.bins(encoded.last))
        session.extend(scale, block)
        mean += encoded.mean
        std += encoded.std
    return mean, std


def decode(model: Model, latents: Latents) -> Tensor:
    """k-space of whitened latents, those of every layer of every scale, complex64 (B, N, N); differentiable."""
    walk, first = Walk(model, len(latents[0]), latents[0].device), 0
    for scale, h in walk:
        last = scale.run(h, latents[first : first + len(scale.latents)])
        first += len(scale.latents)
        walk.extend(last, scale.bins(last))
    return model.decomposition.to_kspace(walk.coarse)
