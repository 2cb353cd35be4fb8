"""The bottleneck block of VDVAE (arXiv 2011.10650, figure 3), with swish as in the IA-HVAE paper."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, kxk, kxk, 1x1 convolutions with pre-activation; without `out` it is residual: input + f(input)."""

    def __init__(self, channels: int, inner: int, resolution: int, out: int | None = None) -> None:
        super().__init__()
        self.residual = out is None
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.first = convolution(inner, inner, resolution)
        self.second = convolution(inner, inner, resolution)
        self.expand = nn.Conv2d(inner, channels if out is None else out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, r, r) to (B, out or channels, r, r)."""
        y = self.reduce(F.silu(x))
        y = self.first(F.silu(y))
        y = self.second(F.silu(y))
        y = self.expand(F.silu(y))
        return x + y if self.residual else y

    def scale_output(self, factor: float) -> None:
        """Multiply the last convolution's initial weights: 1 / sqrt(depth) keeps a deep ladder's variance."""
        self.expand.weight.data.mul_(factor)
        if self.expand.bias is not None:
            self.expand.bias.data.zero_()


def bottlenecks(count: int, channels: int, inner: int, resolution: int) -> nn.Sequential:
    """Residual blocks, one after the other."""
    return nn.Sequential(*(Bottleneck(channels, inner, resolution) for _ in range(count)))


def convolution(channels: int, out: int, resolution: int) -> nn.Conv2d:
    """For maps of a side: k x k with k = 3, or 1 at resolution 2 and below, where there is nothing around."""
    kernel = 3 if resolution > 2 else 1
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2)


def enlarge(maps: Tensor, resolution: int) -> Tensor:
    """Nearest-neighbour upsampling of (B, C, r, r) to side `resolution` (the same maps when it is r)."""
    return maps if maps.shape[-1] == resolution else F.interpolate(maps, size=resolution, mode="nearest")
