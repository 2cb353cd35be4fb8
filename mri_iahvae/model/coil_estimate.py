"""The guide's estimate of the image that several coils measured, and the distribution of its error."""

from dataclasses import dataclass

from torch import Tensor

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.consistency import SeveralCoils
from mri_iahvae.model.estimate import Estimate

EXPONENT, NOISE_OF_ONE = 0.122, 0.081
"""Variance of a prediction's error over what the guide, whose training had one coil, expects: noise variance over the
second, to the power of the first, at most one. The less noise, the more the coils determine in the steps before the
last. Fitted to eight simulated coils on held-back subjects (`benchmarks/beyond/coil_fraction.py`)."""


@dataclass(frozen=True)
class CoilEstimate:
    """The estimate, and what its error is drawn from.

    The last network's prediction errs, and so do the data, by their noise. Data consistency weighs the two and is
    linear in both, so what it makes of the two errors is the error of the estimate: perturb, then optimise (Bardsley et
    al., Randomize-then-optimize, 2014; exact, as all is Gaussian). It is small where the coils determine the image.

    Attributes:
        image: complex64 (B, H, W), combined by the sensitivities, in the units of the measurement.
        prediction: bins of the image, and variance and spread of the prediction's error, in units of the slice, as the
            guide expects them from one coil with the same mask.
        measured: the coils with their noise, in units of the slice.
        weighed: number, the variance that the last data consistency takes the prediction to have.
        unit: float (B,), the slice's.
    """

    image: Tensor
    prediction: Estimate
    measured: SeveralCoils
    weighed: Tensor
    unit: Tensor

    def draw(self, error: Tensor, noise: Tensor) -> Tensor:
        """A draw of the error of the image, complex64 (B, H, W), in the units of the measurement.

        Args:
            error: standard normal parts, complex64 (B, H, W), of the prediction's error.
            noise: the same (B, C, H, W), of the noise of the coils.
        """
        level = self.measured.noise.sqrt()[:, None, None, None]
        deviation = self.fraction().sqrt()[:, None, None]
        predicted = deviation * ifft2c(self.prediction.draw(error))
        return self.measured.between(predicted, level * noise, self.weighed) * self.unit[:, None, None]

    def fraction(self) -> Tensor:
        """Of the variance that is expected with one coil, what is left with several: float (B,)."""
        return (self.measured.noise / NOISE_OF_ONE).pow(EXPONENT).clamp_max(1)
