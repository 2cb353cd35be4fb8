"""A reconstructed volume: images, k-space, what was measured, and what to be warned of."""

from dataclasses import dataclass
from textwrap import shorten

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.words import counted


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume; printed in five lines.

    Of a single slice (H, W) that was given to the Python API, the axis of slices is missing everywhere. Where a tensor
    was given, tensors on its device take the place of the arrays.

    Attributes:
        image: complex64 (slices, H, W), in the units of the input (the FFT is unitary); the mean of the posterior
            samples where there are any.
        kspace: complex64 (slices, H, W), its k-space.
        zero_filled: complex64 (slices, H, W), the measured bins that were used, zero elsewhere.
        factors: complex64 (slices,), what each slice's k-space was divided by (canonical form); of samples
            whose B_8 the coarse prior completed, that of one of them.
        out_of_distribution: float32 (slices,), how far each slice is from the training data
            (`model.domain.Domain.score`): above 1 it lies outside; NaN where the central 4 x 4 bins are not measured as
            a whole, or all are zero, or the checkpoint does not say.
        beyond_training: float32 (slices, 3), how far completed energy, noise and phase of each slice are from training
            (`out_of_distribution.aspect_scores`): above 1 beyond; NaN where not defined.
        fractions: of the bins: "measured", "completed", left "zero"; they sum to 1. Of one coil those of `kspace`,
            completed by the model; of several those of the coils' k-space, completed by model and coils.
        steps: float (scales,), mean number of refinement steps at scales 1, 2, 4 ...
        settings: how it was computed.
        zero_signal: bool (slices,), without signal within the model's grid: left zero there.
        unmeasured: bool (slices,), with nothing measured there: a sample of the prior.
        bounded: bool (slices,), of which something was out of bounds and replaced (`inference.bounds`).
        std: float32 (slices, H, W), standard deviation of the magnitude, where there are two posterior samples or more:
            of one coil with a guide in closed form (`uncertainty.magnitude_deviation`), else that of the samples.
        expected_error: float32 (slices, H, W), expected absolute error of the magnitude, mean over the region of each
            pixel (`inference.uncertainty`); NaN in slices of which nothing is known. None without a guide, and of
            several coils.
        interval_factor: half-width, in expected errors, of the interval about the magnitude that holds 90 % of the
            pixels of an object; None where the checkpoint does not say.
        samples: complex64 (slices, K, H, W), the posterior samples' images, when they were asked for; drawn in
            antithetic pairs (0 and 1, 2 and 3 ...), so only every other one is independent.
        coil_kspace: complex64 (slices, coils, H, W), of several coils, when it was asked for.
        sensitivities: complex64 (slices, coils, H, W), of several coils, those that were used, when they were asked
            for; sum of squares 1, or 0 where given ones are 0.
        warnings: one sentence each.
        model: name of the model, as the Python API knows it.
    """

    image: NDArray[np.complex64]
    kspace: NDArray[np.complex64]
    zero_filled: NDArray[np.complex64]
    factors: NDArray[np.complex64]
    out_of_distribution: NDArray[np.float32]
    beyond_training: NDArray[np.float32]
    fractions: dict[str, float]
    steps: NDArray[np.float64]
    settings: InferenceSettings
    zero_signal: NDArray[np.bool_]
    unmeasured: NDArray[np.bool_]
    bounded: NDArray[np.bool_]
    std: NDArray[np.float32] | None = None
    expected_error: NDArray[np.float32] | None = None
    interval_factor: float | None = None
    samples: NDArray[np.complex64] | None = None
    coil_kspace: NDArray[np.complex64] | None = None
    sensitivities: NDArray[np.complex64] | None = None
    warnings: tuple[str, ...] = ()
    model: str | None = None

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """float32 (slices, H, W)."""
        return abs(self.image)

    @property
    def half_width(self) -> NDArray[np.float32] | None:
        """float32 (slices, H, W), of the interval about the magnitude; None where there is none."""
        if self.expected_error is None or self.interval_factor is None:
            return None
        return self.interval_factor * self.expected_error

    def __repr__(self) -> str:
        fractions = (f"{fraction:.1%} {name}" for name, fraction in self.fractions.items())
        samples = f", {counted(self.settings.samples, 'posterior sample')}" if self.settings.samples else ""
        return "\n".join(
            (
                f"Reconstruction of shape {tuple(self.image.shape)}",
                f"  bins: {', '.join(fractions)}",
                f"  method: {self.settings.method}, data consistency {self.settings.data_consistency}{samples}",
                f"  model: {self.model or 'not named'}",
                f"  warnings: {shorten('; '.join(self.warnings), 100, placeholder=' ...') or 'none'}",
            )
        )
