"""Data consistency: what the bins of a band are, given the model's prediction and the measurement."""

import torch
from torch import Tensor

from mri_iahvae.inference.settings import DataConsistency


def consistent(
    predicted: Tensor, measured: Tensor, mask: Tensor, model_sigma: float, noise_sigma: Tensor
) -> Tensor:
    """Posterior mean of the bins given the latents and the data.

    A measured bin becomes (sigma_n^2 h + sigma^2 y) / (sigma_n^2 + sigma^2), which tends to the datum y as the
    noise vanishes; an unmeasured one stays the prediction h.

    Args:
        predicted: complex (B, s, s), the model's bins h.
        measured: complex (B, s, s), the data y.
        mask: bool, broadcastable to (B, s, s).
        model_sigma: likelihood sigma of the model.
        noise_sigma: float (B,), noise sigma of the data in the same units; zero for none.

    Returns:
        complex (B, s, s).
    """
    noise = noise_sigma.square()[:, None, None]
    weight = model_sigma**2 / (model_sigma**2 + noise)
    return torch.where(mask, predicted + weight * (measured - predicted), predicted)


def output(
    predicted: Tensor, fixed: Tensor, measured: Tensor, mask: Tensor, data_consistency: DataConsistency
) -> Tensor:
    """What is shown of the bins.

    Args:
        predicted: complex (B, s, s), the model's bins.
        fixed: complex (B, s, s), as `consistent` gives them.
        measured: complex (B, s, s), the data.
        mask: bool, broadcastable to (B, s, s).
        data_consistency: "hard", "soft" or "none".

    Returns:
        complex (B, s, s).
    """
    if data_consistency == "none":
        return predicted
    return fixed if data_consistency == "soft" else torch.where(mask, measured, predicted)
