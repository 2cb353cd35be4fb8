"""Frechet inception distance between two sets of magnitude images, by weights that the user gives.

The features are those of torchvision's `inception_v3` (a state dict, trained on ImageNet), not of the TensorFlow graph
that published distances are made with; and few images give a covariance of low rank. It orders methods on one set of
images and says nothing beyond.
"""

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class InceptionFeatures(nn.Module):
    """Pooled features of `inception_v3`: images (B, 3, H, W) in 0 ... 1 to (B, 2048)."""

    num_features = 2048

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import inception_v3  # noqa: PLC0415 - seconds, and only where FID is asked for

        self.network = inception_v3(weights=None, init_weights=False).eval()

    @classmethod
    def load(cls, path: Path) -> "InceptionFeatures":
        """Features by a state dict of torchvision's `inception_v3`."""
        features = cls()
        try:
            features.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, OSError, ValueError, EOFError) as error:
            line = str(error).partition("\n")[0]
            raise click.ClickException(
                f"{path}: expected a state dict of torchvision's inception_v3, found something else ({line})"
            ) from None
        features.network.fc = nn.Identity()
        return features

    def forward(self, images: Tensor) -> Tensor:
        """The features."""
        large = nn.functional.interpolate(images, (299, 299), mode="bilinear", antialias=True)
        found: Tensor = self.network(2 * large - 1)
        return found


@torch.no_grad()
def frechet_distance(
    features: nn.Module, references: NDArray[np.floating], images: NDArray[np.floating]
) -> float:
    """FID of images against references.

    Args:
        features: images (B, 3, H, W) in 0 ... 1 to (B, num_features).
        references: (slices, H, W), magnitude.
        images: (slices, H, W), magnitude; shown in the grey window of the slice's reference.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: PLC0415

    distance = FrechetInceptionDistance(feature=features)
    white = references.max(axis=(1, 2), keepdims=True)
    for values, real in ((references, True), (images, False)):
        grey = torch.from_numpy(np.clip(values / white, 0, 1).astype(np.float32))
        for batch in grey[:, None].expand(-1, 3, -1, -1).split(8):
            distance.update(batch, real=real)
    return float(distance.compute())
