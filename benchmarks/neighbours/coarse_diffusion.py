"""A small diffusion model of a vector of numbers, and its variational bound: what the mixture is compared with.

The variational diffusion model of Kingma et al. (arXiv 2107.00630) with a fixed schedule, log SNR linear in time. x is
whitened first. z_t = a_t x + s_t e, and a network predicts e. It adds to s_t z_t, which is right where x is Gaussian:
so an untrained network has the bound of the Gaussian.
"""

import math
import time
from typing import cast

import torch
from torch import Tensor, nn

_LOG_SNR = (9.0, -9.0)  # at time 0 and 1
_WAVES = 8


class Diffusion(nn.Module):
    """A multilayer perceptron with residual blocks on whitened numbers.

    Attributes:
        mean: float (D,), of the training's samples.
        factor: float (D, D), Cholesky factor of their covariance.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, samples: Tensor, width: int = 384, blocks: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", samples.mean(0))
        self.register_buffer("factor", torch.linalg.cholesky(samples.mT.cov()))
        size = samples.shape[1]
        self.begin = nn.Linear(size + 2 * _WAVES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.end = nn.Linear(width, size)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def white(self, x: Tensor) -> Tensor:
        """Whitened numbers, float32 (B, D)."""
        return torch.linalg.solve_triangular(self.factor, (x - self.mean).mT, upper=False).mT.float()

    def noise(self, z: Tensor, t: Tensor) -> Tensor:
        """The prediction of e, from z (B, D) at times (B,) in [0, 1]."""
        angle = math.pi * t[:, None] * torch.arange(1, _WAVES + 1)
        h = self.begin(torch.cat([z, angle.sin(), angle.cos()], dim=1))
        for block in self.blocks:
            h = h + block(h)
        return levels(t)[1] * z + self.end(h)

    def loss(self, x: Tensor, t: Tensor, e: Tensor) -> Tensor:
        """|e - prediction|^2 of whitened numbers (B, D), float (B,)."""
        a, s = levels(t)
        return (e - self.noise(a * x + s * e, t)).square().sum(1)

    def bound(
        self, samples: Tensor, generator: torch.Generator, steps: int = 1000, times: int = 32
    ) -> Tensor:
        """Upper bound on the negative log density, nats, (B,); its expectation over random times and noise is exact.

        The bound of `steps` discrete steps (equations 11 to 14), each estimated at some of them.

        Args:
            samples: float (B, D).
            generator: of times and noise.
            steps: T.
            times: steps that are drawn for each sample, spread evenly.
        """
        x, size = self.white(samples), samples.shape[1]
        a, s = levels(torch.ones(1))
        last = ((a * x).square() + s.square() - 1 - s.square().log()).sum(1) / 2  # KL of z_1 from the prior
        # The decoder is N(z_0 / a_0, (s_0 / a_0)^2): its misfit is that of e alone.
        first = size / 2 * (1 + math.log(2 * math.pi) - _LOG_SNR[0])
        snr = math.exp(1 / steps * (_LOG_SNR[0] - _LOG_SNR[1])) - 1  # SNR(s) / SNR(t) - 1
        between = torch.zeros(len(x))
        for i in range(times):
            place = (i + torch.rand(len(x), generator=generator)) / times
            t = (place * steps).floor().add(1) / steps
            e = torch.randn(x.shape, generator=generator)
            between += steps / 2 * snr * self.loss(x, t, e) / times
        return last + first + between + self.factor.diagonal().log().sum()


def levels(t: Tensor) -> tuple[Tensor, Tensor]:
    """a_t and s_t, (B, 1), a^2 + s^2 = 1, of times (B,)."""
    log_snr = (_LOG_SNR[0] + t * (_LOG_SNR[1] - _LOG_SNR[0]))[:, None]
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def fit_diffusion(samples: Tensor, minutes: float, seed: int = 0, batch: int = 256) -> tuple[Diffusion, int]:
    """Train for some minutes of processor time; the averaged weights, and the number of steps made."""
    torch.manual_seed(seed)
    model = Diffusion(samples)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    x, begun, steps, done = model.white(samples), time.process_time(), 0, 0.0
    while done < 1:
        chosen = x[torch.randint(len(x), (batch,))]
        t = (torch.arange(batch) + torch.rand(batch)) / batch
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (steps + 1) / 100) * (1 + math.cos(math.pi * done)) / 2
        optimizer.zero_grad()
        model.loss(chosen, t, torch.randn_like(chosen)).mean().div(x.shape[1]).backward()
        optimizer.step()
        average.update_parameters(model)
        steps, done = steps + 1, (time.process_time() - begun) / (60 * minutes)
    return cast("Diffusion", average.module).eval().requires_grad_(requires_grad=False), steps
