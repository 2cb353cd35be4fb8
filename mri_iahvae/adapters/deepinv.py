"""The prior as a denoiser of deepinv's plug-and-play algorithms; any other in PyTorch takes it as well.

deepinv's denoisers are modules with `forward(x, sigma)` (`deepinv.models.Denoiser`), and its `PnP` and `RED` priors
take any of that form: deepinv itself is not needed here.
"""

import torch
from torch import Tensor, nn

from mri_iahvae.errors import UsageError
from mri_iahvae.tasks.prior import Prior


class PriorDenoiser(nn.Module):
    """`Prior.denoise` on tensors as deepinv has them. No gradients flow through.

    Args:
        prior: stays on its own device, whatever the module is moved to.
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Denoise a batch.

        Args:
            x: float (B, 2, H, W), real and imaginary part; or complex (B, H, W) or (B, 1, H, W).
            sigma: standard deviation of the noise in each part, in the units of `x`: one number, or B of them.

        Returns:
            As `x`: shape, type and device.

        Raises:
            UsageError: an argument that cannot be.
        """
        channels = [(), (1,)] if x.is_complex() else [(2,)]
        numbers = x.is_floating_point() or x.dtype in (torch.complex64, torch.complex128)
        if not numbers or x.ndim < 3 or tuple(x.shape[1:-2]) not in channels:
            raise UsageError(
                f"x: expected float (B, 2, H, W), complex (B, H, W) or (B, 1, H, W), got {x.dtype} {tuple(x.shape)}"
            )
        sigma = torch.as_tensor(sigma).flatten()
        if x.is_complex():
            images = x.reshape(len(x), *x.shape[-2:])
            return torch.as_tensor(self.prior.denoise(images, sigma)).reshape(x.shape).to(x.dtype)
        clean = torch.as_tensor(self.prior.denoise(torch.complex(x[:, 0].float(), x[:, 1].float()), sigma))
        return torch.stack([clean.real, clean.imag], dim=1).to(x.dtype)
