"""What trainings of networks beside ours have in common."""

import numpy as np
import torch
from torch import Tensor, nn

from mri_iahvae.kspace.masks import column_mask


def random_columns(slices: Tensor, seed: int) -> Tensor:
    """Random columns 4x / 0.08 of slices (B, H, W), of each its own: bool (B, H, W)."""
    count, _, width = slices.shape
    rows = [column_mask(width, 4, 0.08, "random", f"{seed} {number}") for number in range(count)]
    return torch.from_numpy(np.stack(rows))[:, None].expand(slices.shape)


def follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Move an average of weights towards a network's after a step; its decay is warmed up."""
    decay = min(0.998, (1 + step) / (10 + step))
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.data.lerp_(weight.data, 1 - decay)
