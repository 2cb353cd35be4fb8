"""The prior as an object: draws, a bound of the density, and the posterior given noisy or missing data."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.pipeline.arrays import as_numpy, like, power_of_two
from mri_iahvae.tasks.reconstruct import Reconstructor
from mri_iahvae.tasks.sample import draw
from mri_iahvae.training.objective import posterior_pass


class Prior:
    """The prior over complex images that a checkpoint holds (Python API), loaded once.

    `denoise` and `complete` are those of `Reconstructor`: a checkpoint's guide takes part where the method uses it, and
    `method="iterative"` leaves it out. No gradients flow through.

    Args:
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        **settings: of `denoise` and `complete`, as in `mri_iahvae.reconstruct`.

    Raises:
        UsageError: a setting, a device or a checkpoint that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | Path = "small",
        device: str = "auto",
        **settings: Any,  # noqa: ANN401 - `InferenceSettings`, checked there
    ) -> None:
        self._reconstructor = Reconstructor(checkpoint, device, **settings)
        self._model = self._reconstructor.loaded.model

    @property
    def size(self) -> int:
        """Side N of the model's grid."""
        return self._model.size

    def sample(
        self, count: int = 1, *, seed: int = 0, temperature: float = 1.0, batch: int | None = None
    ) -> NDArray[np.complex64]:
        """Draw images, complex64 (count, N, N): arguments and errors of `mri_iahvae.sample`."""
        coarse = self._reconstructor.loaded.coarse
        return draw(self._model, count, temperature=temperature, seed=seed, coarse=coarse, batch=batch)

    @torch.no_grad()
    def log_prob(
        self, image: NDArray[np.complexfloating] | Tensor, *, draws: int = 8, seed: int = 0
    ) -> NDArray[np.float64] | Tensor:
        """Estimate a lower bound of the log density, the evidence lower bound (ELBO), in nats.

        It is the mean of log p(x, z) - log q(z | x) over latents z that are drawn from the encoder's posterior q.

        The density is of the canonical image, over its 2 N^2 real and imaginary parts. Canonical form divides an image
        by a complex number c of its own (`kspace.canonical`): images that differ by a factor have the same value. For
        a given c, the density in the units of the image is lower by 2 N^2 log(abs(c)).

        Args:
            image: complex (N, N) or (images, N, N), N being `size`, any units.
            draws: latents that are drawn of each image.
            seed: of the draws, which are the same for each image.

        Returns:
            float64 () or (images,); a tensor where `image` is one.

        Raises:
            UsageError: another shape, values that are not finite, or no draws.
        """
        size, values = self._model.size, _complex64(image)
        if values.shape[-2:] != (size, size):
            raise UsageError(
                f"image: expected ({size}, {size}) or (images, {size}, {size}), got {values.shape}"
            )
        if draws < 1:
            raise UsageError(f"draws {draws}: expected at least one")
        kspace = fft2c(torch.from_numpy(values.reshape(-1, size, size)).to(self._model.gains.device))
        kspace = kspace / power_of_two(kspace)[:, None, None]  # squares of scanner units could overflow
        everything = torch.ones_like(kspace, dtype=torch.bool)
        kspace = kspace / canonical_factor(kspace, everything, self._model.power)[:, None, None]
        bounds = np.empty(len(kspace))
        for number, one in enumerate(kspace):
            noise = torch.Generator(kspace.device).manual_seed(seed)
            passed = posterior_pass(self._model, one.expand(draws, -1, -1), noise)
            bounds[number] = -passed.nats(self._model.sigma).double().mean().item()
        return like(bounds.reshape(values.shape[:-2]), image)

    def denoise(
        self, image: NDArray[np.inexact] | Tensor, sigma: NDArray[np.floating] | Tensor | float
    ) -> NDArray[np.complex64] | Tensor:
        """Denoise images as `mri_iahvae.denoise` does k-space: white Gaussian noise is the same in both.

        Args:
            image: complex or real (H, W) or (slices, H, W), any size and units.
            sigma: standard deviation of the noise per real and imaginary part, in the units of the image; one number or
                (slices,).

        Returns:
            complex64, of the same shape; a tensor where `image` is one.

        Raises:
            UsageError: an argument that cannot be.
        """
        kspace = fft2c(torch.from_numpy(_complex64(image))).numpy()
        return like(self._reconstructor.denoise(kspace, sigma, coils=False).image, image)

    def complete(
        self, kspace: NDArray[np.complexfloating] | Tensor, mask: NDArray[np.bool_] | Tensor
    ) -> NDArray[np.complex64] | Tensor:
        """Complete k-space: measured bins stay, the others come from the prior given those.

        Args:
            kspace: complex (H, W) or (slices, H, W), as in `mri_iahvae.reconstruct`.
            mask: as there.

        Returns:
            complex64, of the same shape; a tensor where `kspace` is one.

        Raises:
            UsageError: an argument that cannot be.
        """
        return self._reconstructor.reconstruct(kspace, mask, coils=False).kspace


def _complex64(image: object) -> NDArray[np.complex64]:
    """As an array of one slice or several.

    Raises:
        UsageError: another number of axes, an empty one, or values that are not finite.
    """
    with np.errstate(over="ignore"):  # infinity is refused
        values = as_numpy(image).astype(np.complex64)
    if values.ndim not in (2, 3) or not values.size or not np.isfinite(values).all():
        raise UsageError(f"image: expected finite values (H, W) or (slices, H, W), got {values.shape}")
    return values
