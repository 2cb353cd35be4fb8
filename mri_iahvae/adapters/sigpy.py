"""The prior as a proximal operator of sigpy's apps and algorithms."""

from typing import Any

import numpy as np
import sigpy

from mri_iahvae.tasks.prior import Prior


class PriorProx(sigpy.prox.Prox):
    """The prior's denoiser in the place of a proximal operator (plug-and-play, Venkatakrishnan et al. 2013).

    The operator of alpha g with g = -noise_sigma^2 log p minimises |x - y|^2 / 2 + alpha g(x): x is the most probable
    image given y with noise of sigma = noise_sigma sqrt(alpha) per real and imaginary part, which `Prior.denoise`
    estimates. Beside the data term |A x - b|^2 / 2 of sigpy's apps the sum is then minimal at the most probable image
    given b. That holds as far as the denoiser is a proximal operator, which no learned one is exactly.

    Args:
        shape: (H, W) or (slices, H, W), of the complex image.
        prior: loaded.
        noise_sigma: of b, per real and imaginary part, in its units; a larger one gives the prior more weight.
    """

    def __init__(self, shape: tuple[int, ...], prior: Prior, noise_sigma: float) -> None:
        super().__init__(shape)
        self.prior = prior
        self.noise_sigma = noise_sigma

    def _prox(self, alpha: float, input: Any) -> Any:  # noqa: A002, ANN401 - sigpy's name; an array of NumPy or CuPy
        values = sigpy.to_device(input, sigpy.cpu_device)
        clean = self.prior.denoise(values, self.noise_sigma * float(np.sqrt(alpha)))
        return sigpy.to_device(np.asarray(clean, input.dtype), sigpy.get_device(input))
