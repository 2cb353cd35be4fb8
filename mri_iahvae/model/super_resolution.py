"""Super-resolution branch of a scale: predicts a band from the coarser bins.

Fine scales fold pixels into channels to be affordable, and then have to learn every texture once per position within a
patch. An edge that continues from the coarser bins looks the same everywhere, so convolutions on unfolded pixels learn
to continue it in a fraction of the time. The branch works on the s/2 x s/2 pixels of B_{s/2} and doubles the side at
the end (Shi et al., arXiv 1609.05158). It depends on the coarser scales alone, so it is evaluated once per scale, not
in every step of a refinement.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.config import SUPER_RESOLUTION_BLOCKS


class SuperResolution(nn.Module):
    """Predicts the image of band R_s from that of block B_{s/2}, on maps of side s / 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(4, width, 3, padding=1)
        count = range(SUPER_RESOLUTION_BLOCKS)
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in count)
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in count)
        self.image = nn.Conv2d(width, 8, 3, padding=1)  # real and imaginary part of 2 x 2 pixels
        for parameter in self.image.parameters():  # zero at first, as heads are
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor, white: Tensor) -> Tensor:
        """The band's image in units of its gain, float (B, 2, s, s); bins of other bands are for the head to drop.

        Args:
            image: complex (B, s/2, s/2), image of B_{s/2}, pixel power about 1.
            white: complex (B, s/2, s/2), the same with each bin divided by its band's gain, so that edges show.
        """
        x = self.embed(torch.cat([to_channels(image), to_channels(white)], dim=1))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(F.silu(first(F.silu(x))))
        return F.pixel_shuffle(self.image(x), 2)
