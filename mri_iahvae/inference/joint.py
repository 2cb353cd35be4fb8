"""Refinement of all scales at once, where finer measured bins can tell what coarser scales leave open.

The scale loop infers a scale from its own bins and coarser ones. That is all there is to know where coarser scales are
measured; a coarse bin that is missing, or lost in noise, is known better from finer ones, as an edge that they show has
to go on in it. So the latents of all scales move together in the end, from where the scale loop left them,

    J(e) = sum over scales of c_s |e_s|^2 / 2 + sum over measured bins of |h_s(e) - y|^2 / (2 (sigma^2 + sigma_n^2))

with c_s as `Measurement.prior_joint` says, and with the contexts and missing bins of a scale as functions of coarser
latents. Every evaluation runs the whole hierarchy, which the scale loop never does: it is what takes longest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import band_energy, out_of_bounds
from mri_iahvae.inference.consistency import consistent, output
from mri_iahvae.inference.measurement import Band, Measurement
from mri_iahvae.inference.refine import flat, optimise
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.iahvae import IAHVAE, add_band

Latents = Sequence[Sequence[Tensor]]
"""Whitened latents of each layer of each scale, (B, latent, r, r)."""


def refine_jointly(
    model: IAHVAE,
    measurement: Measurement,
    start: Latents,
    spread: Latents,
    settings: InferenceSettings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Refine the latents of all measured scales together; finer ones keep theirs. Rows are independent.

    Args:
        model: separable, weights without gradients.
        measurement: of rows that are no samples, and whose finest measured scale is the same.
        start: where the scale loop left the latents.
        spread: expected standard deviation of each about the minimum (`refine.refine`).
        settings: `joint_steps` of them, by their optimizer.

    Returns:
        The bins, complex64 (B, N, N), the steps that each row used, int64 (B,), and rows whose bins are out of
        bounds, bool (B,).
    """
    bands = [measurement.band(index) for index in range(len(start))]
    prior = [measurement.prior_joint(index) for index in range(len(start))]
    moving = 1 + max(index for index, band in enumerate(bands) if band.mask.any())
    shapes = [[e.shape for e in layers] for layers in start[:moving]]
    sizes = [sum(shape[1:].numel() for shape in layers) for layers in shapes]

    def cut(x: Tensor) -> list[list[Tensor]]:
        scales = zip(x.split(sizes, dim=1), shapes, strict=True)
        return [_layers(part, layers) for part, layers in scales]

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            latents = cut(x)
            predicted, _ = decode(model, measurement, bands[:moving], latents)
            told = zip(prior[:moving], latents, bands[:moving], predicted, strict=True)
            values = torch.stack([_objective(*of_scale) for of_scale in told]).sum(0)
            (gradient,) = torch.autograd.grad(values.sum(), x)
        return values.detach(), gradient

    x, used = optimise(
        evaluate,
        torch.cat([flat(layers) for layers in start[:moving]], dim=1),
        torch.cat([flat(layers) for layers in spread[:moving]], dim=1),
        steps=settings.joint_steps,
        tolerance=settings.budget[1],
        optimizer=settings.optimizer,
    )
    latents = [*cut(x), *start[moving:]]
    predicted, fixed = decode(model, measurement, bands, latents)
    result, out = predicted[0][:, :0, :0], torch.zeros_like(used, dtype=torch.bool)
    for index, (own, known, band) in enumerate(zip(predicted, fixed, bands, strict=True)):
        out |= out_of_bounds(latents[index], own, band.data, band_energy(model, index), settings.temperature)
        result = add_band(result, output(own, known, band.data, band.mask, settings.data_consistency))
    return result, used, out


def decode(
    model: IAHVAE, measurement: Measurement, bands: list[Band], latents: Latents
) -> tuple[list[Tensor], list[Tensor]]:
    """Bands of a hierarchy from scale 1 on, each scale's context holding the coarser bins given latents and data.

    Returns:
        Of each scale what the model predicts, and its posterior mean given the data: complex (B, s, s).
    """
    h, seen = None, bands[0].data[:, :0, :0]
    predicted, fixed = [], []
    for index, (band, layers) in enumerate(zip(bands, latents, strict=True)):
        h, _ = model.descend(index, model.context(index, h, seen), list(layers))
        predicted.append(model.band(index, h))
        fixed.append(
            consistent(predicted[-1], band.data, band.mask, model.config.sigma, measurement.noise_sigma)
        )
        seen = add_band(seen, fixed[-1])
    return predicted, fixed


def _objective(prior: Tensor, latents: list[Tensor], band: Band, predicted: Tensor) -> Tensor:
    """J of one scale in nats, (B,)."""
    residual = torch.view_as_real(predicted - band.data).square().sum(-1)
    return prior * flat(latents).square().sum(1) / 2 + (band.weight * residual).flatten(1).sum(1)


def _layers(x: Tensor, shapes: list[torch.Size]) -> list[Tensor]:
    """Layers of one scale from one vector per row."""
    parts = x.split([shape[1:].numel() for shape in shapes], dim=1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
