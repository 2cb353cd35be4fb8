"""One stochastic layer of the top-down ladder: prior, posterior, and the step from context to context."""

import torch
from torch import Tensor, nn

from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.gaussian import Gaussian, soft_bound

# The prior's scale is a convention (the projection of z can undo it); kept within e^-3 ... e^3 so that plain
# gradient descent on z, as the paper's method takes it, is stable for every layer, unused ones included.
_PRIOR_BOUND = 3.0
_POSTERIOR_BOUND = 8.0


class LadderLayer(nn.Module):
    """A VDVAE top-down block on maps of side r; `latent` maps are the latent channels per pixel times patch^2."""

    def __init__(self, scale: ScaleConfig, resolution: int, latent: int) -> None:
        super().__init__()
        channels, inner = scale.width, scale.inner
        self.latent = latent
        self.prior_block = Bottleneck(channels, inner, resolution, out=2 * latent + channels)
        self.posterior_block = Bottleneck(channels + scale.channels, inner, resolution, out=2 * latent)
        self.project = nn.Conv2d(latent, channels, 1)
        self.block = Bottleneck(channels, inner, resolution)
        nn.init.zeros_(self.prior_block.expand.weight)
        self.prior_block.scale_output(1.0)
        self.posterior_block.scale_output(0.1)

    def prior(self, h: Tensor) -> tuple[Gaussian, Tensor]:
        """p(z | h), over (B, latent, r, r), and the residual (B, C, r, r) that the context h receives beside z."""
        out = self.prior_block(h).float()
        mean, log_std, residual = out.split([self.latent, self.latent, h.shape[1]], dim=1)
        return Gaussian(mean, soft_bound(log_std, _PRIOR_BOUND)), residual

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """q(e | h, features) of the whitened latent: its mean and the log of its standard deviation.

        In units of the prior, the posterior follows it when the context changes during refinement.
        """
        offset, log_ratio = self.posterior_block(torch.cat([h, features], dim=1)).float().chunk(2, dim=1)
        return offset, soft_bound(log_ratio, _POSTERIOR_BOUND)

    def advance(self, h: Tensor, residual: Tensor, z: Tensor) -> Tensor:
        """The next context: h <- block(h + residual + project(z))."""
        return self.block(h + residual + self.project(z))
