"""The pseudo-input u of DVP-VAE: a fixed, normalised low-frequency summary of an image (arXiv 2412.01373).

r(u | x) = N(f(x), s^2 I), f(x) being the low block of the image's discrete cosine transform. Nothing of it is trained.
"""

import math

import torch
import torch.nn.functional as F
from scipy.fft import dct
from torch import Tensor


class PseudoInput:
    """f, draws of r(u | x), and the way back to an image.

    Args:
        images: uint8 (n, C, N, N), of which coefficients get mean 0 and deviation 1.
        block: side of the low block, so u has D = C block^2 numbers.
        sigma: s, where each coefficient has a deviation of 1 over the images.

    Attributes:
        negative_entropy: the mean of log r(u | x), nats, the same for every x.
    """

    def __init__(self, images: Tensor, block: int, sigma: float) -> None:
        self.sigma = sigma
        self.channels, self.side, self.block = images.shape[1], images.shape[-1], block
        low = torch.cat([self._low(part.float() / 255) for part in images.split(1000)])
        self.mean = low.mean(0)
        self.deviation = low.std(0).clamp_min(1e-3)
        self.size = self.mean.numel()
        self.negative_entropy = -self.size / 2 * (math.log(2 * math.pi * sigma**2) + 1)

    def of(self, images: Tensor) -> Tensor:
        """f(x) of images (B, C, N, N) from 0 to 1: float (B, D)."""
        return ((self._low(images) - self.mean) / self.deviation).flatten(1)

    def draw(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """From r(u | x): float (B, D)."""
        mean = self.of(images)
        return mean + self.sigma * torch.randn(mean.shape, generator=noise)

    def image(self, u: Tensor, side: int) -> Tensor:
        """The low-pass image that u (B, D) describes, on side x side pixels: float (B, C, side, side).

        Frequencies that so few pixels cannot hold are left out.
        """
        low = u.unflatten(1, self.mean.shape) * self.deviation + self.mean
        rest = side - self.block  # negative padding crops
        basis = cosines(side)
        return basis.mT @ F.pad(low, (0, rest, 0, rest)) @ basis * (side / self.side)

    def _low(self, images: Tensor) -> Tensor:
        basis = cosines(self.side)[: self.block]
        return basis @ images @ basis.mT


def cosines(side: int) -> Tensor:
    """The orthonormal DCT-II, float32 (side, side): rows are frequencies."""
    return torch.from_numpy(dct(torch.eye(side, dtype=torch.float64).numpy(), axis=0, norm="ortho")).float()
