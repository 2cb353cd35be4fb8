"""The training objective: negative ELBO at one white sigma, and the completion-aware term."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import crop, embed, scales
from mri_iahvae.model.gaussian import kl_divergence
from mri_iahvae.model.iahvae import IAHVAE, add_band, complete
from mri_iahvae.training.share import Share


@dataclass(frozen=True)
class PosteriorPass:
    """What one pass through encoder and ladder gives.

    Attributes:
        error: squared error of the bins that each scale answers for, (scales, B), canonical units.
        kl: Kullback-Leibler divergence per scale, (scales, B), nats.
        contexts: last context of each scale.
        bins: decoded k-space, complex64 (B, N, N).
    """

    error: Tensor
    kl: Tensor
    contexts: list[Tensor]
    bins: Tensor

    def negative_elbo(self, sigma: float) -> Tensor:
        """Mean over the batch, in nats per real dimension (2 N^2 of them).

        Per bin the log density is -|e|^2 / (2 sigma^2) - log(2 pi sigma^2).
        """
        bins = self.bins.shape[-1] ** 2
        distortion = self.error.sum(0) / (2 * sigma**2) + bins * math.log(2 * math.pi * sigma**2)
        return (distortion + self.kl.sum(0)).mean() / (2 * bins)


def posterior_pass(
    model: IAHVAE,
    kspace: Tensor,
    noise: torch.Generator | None = None,
    teacher: Tensor | None = None,
    last: int | None = None,
    means: Tensor | None = None,
    share: Share | None = None,
) -> PosteriorPass:
    """Encode and decode fully sampled k-space.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        noise: draws posterior samples; None takes posterior means.
        teacher: bool (B,), slices whose contexts see the true coarser bins instead of the decoded ones; none
            by default. Inference gives contexts measured bins where there are any, decoded ones elsewhere, so
            training shows both.
        last: index of the last scale to run; the finest by default.
        means: bool (B,), slices that take posterior means all the same; none by default. Inference starts from
            means, and a decoder that never sees them learns to need the noise of samples.
        share: of the batch that `kspace` is, by default all of it.
    """
    errors, rates, contexts = [], [], []
    features = h = None
    encode = model.encoder_for(kspace)
    decoded = kspace.new_zeros(kspace.shape[0], 0, 0)
    share = share or Share(len(kspace))
    count = len(model.gains) if last is None else last + 1
    for index, s in enumerate(scales(model.size)[:count]):
        target = crop(kspace, s)
        features = encode(index, target, features)
        seen = decoded.detach()
        if teacher is not None and index:
            seen = torch.where(teacher[:, None, None], crop(kspace, s // 2), seen)
        h, priors, posteriors, _ = model.amortize(
            index, model.context(index, h, seen), features, _normal(model, index, noise, means, share)
        )
        band = model.band(index, h)
        errors.append(squared_error(band, target * model.ring(index)))
        rates.append(
            torch.stack([kl_divergence(q, p) for q, p in zip(posteriors, priors, strict=True)]).sum(0)
        )
        contexts.append(h)
        decoded = add_band(decoded, band)
    return PosteriorPass(torch.stack(errors), torch.stack(rates), contexts, decoded)


def _normal(
    model: IAHVAE, index: int, noise: torch.Generator | None, means: Tensor | None, share: Share
) -> list[Tensor] | None:
    """Noise of a scale's latents, zero for the slices that take means."""
    if noise is None:
        return None
    shape = (share.total, *model.latent_shape(index))
    drawn = [share.of(torch.randn(shape, generator=noise, device=noise.device)) for _ in model.layers(index)]
    return drawn if means is None else [values * ~means[:, None, None, None] for values in drawn]


def block_context(model: IAHVAE, kspace: Tensor, index: int) -> Tensor:
    """The last context of scale `index` where B_s alone is measured, from posterior means, as inference has it.

    Contexts of posterior samples are another distribution. A scale-causal encoder is shown blocks by the ELBO
    already, and completion is not to change it: its gradient is cut. A bottom-up one has to learn zero-filled inputs.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        index: last known scale.

    Returns:
        float (B, C, r, r).
    """
    block = embed(crop(kspace, 2**index), model.size)
    with torch.set_grad_enabled(torch.is_grad_enabled() and model.config.encoder != "causal"):
        return posterior_pass(model, block, last=index).contexts[index]


def completion_ratio(model: IAHVAE, kspace: Tensor, index: int, h: Tensor) -> Tensor:
    """Squared error of the prior-mean completion beyond scale `index`, over the mean energy of those bands.

    1 is what zero-filling reaches on an average slice. It trains the prior path to predict the conditional mean
    of unmeasured bands, which is what `--up-to` asks of it.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        index: last known scale.
        h: last context of that scale, as `block_context` gives it.

    Returns:
        float (B,).
    """
    completed = complete(model, index, h, crop(kspace, 2**index))
    bins = torch.tensor(
        [4**k - 4 ** (k - 1) for k in range(index + 1, len(model.gains))], device=kspace.device
    )
    return squared_error(completed, kspace) / (bins * model.gains[index + 1 :].square()).sum()


def masked_ratio(model: IAHVAE, kspace: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the bins inferred from a measurement with holes, over the mean energy of the holes.

    One fill round per scale, as inference does it: holes take the prior mean, the encoder sees the filled scale
    (a bottom-up one the zero-filled grid), and its posterior mean predicts them. It trains the encoder for inputs
    that were filled, and the decoder for posterior means, which inference starts from: the ELBO alone shows it
    samples only, and measured bins count here for that reason.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        mask: bool (B, N, N), true where measured.

    Returns:
        float (B,).
    """
    error = torch.zeros(kspace.shape[0], device=kspace.device)
    features = h = None
    seen = kspace.new_zeros(kspace.shape[0], 0, 0)
    encode = model.encoder_for(torch.where(mask, kspace, 0))
    for index, s in enumerate(scales(model.size)):
        ring = model.ring(index)
        target, known = crop(kspace, s) * ring, crop(mask, s) & ring
        h = model.context(index, h, seen)
        filled = target
        if model.config.encoder == "causal":
            with torch.no_grad():
                filled = torch.where(known, target, model.band(index, model.descend(index, h)[0]))
        here = encode(index, add_band(seen, filled), features)
        h, _, _, _ = model.amortize(index, h, here)
        band = model.band(index, h)
        error = error + squared_error(band, target)
        seen = add_band(seen, torch.where(known, target, band.detach()))
        if s < model.size:
            features = encode(index, seen, features)
    return error / (model.power * ~mask).sum(dim=(1, 2)).clamp_min(torch.finfo(torch.float32).tiny)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Sum of |a - b|^2 over bins: complex (B, n, n) to float (B,)."""
    return torch.view_as_real(a - b).square().sum(dim=(1, 2, 3))
