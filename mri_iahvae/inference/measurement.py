"""What is known of each coefficient: a datum and its variance; and the one formula that fuses it with a prediction."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.protocols import Scale

_CORRELATION = 16.0


@dataclass(frozen=True)
class Datum:
    """One scale of a batch's measurement, canonical units.

    Attributes:
        value: complex (B, s, s), y; zero where nothing is known.
        variance: float (B, s, s), of each real and imaginary part: that of the noise, or of the guide's error; infinite
            where nothing is known.
        fraction: float (B,), fraction of the scale's prior variance that the data take away, if they are independent: 1
            where all is measured without noise, 0 where nothing is known.
    """

    value: Tensor
    variance: Tensor
    fraction: Tensor

    @property
    def known(self) -> Tensor:
        """Bool (B, s, s), true where anything is known."""
        return self.variance.isfinite()

    def fuse(self, predicted: Tensor, variance: float | Tensor) -> Tensor:
        """Posterior mean of the coefficients: h + v / (v + n) (y - h).

        It is data consistency (v: what the latents leave open; without noise, n = 0, the datum itself), imputation of
        missing coefficients (n infinite: the prediction), and a Wiener filter of noisy ones (v: the prior's variance).

        Args:
            predicted: complex (B, s, s), h.
            variance: v of the prediction, per part.
        """
        return predicted + variance / (variance + self.variance) * (self.value - predicted)

    def weight(self, variance: float) -> Tensor:
        """1 / (2 (v + n)), float (B, s, s): zero where nothing is known."""
        return 0.5 / (variance + self.variance)

    def shifted(self, offset: Tensor) -> "Datum":
        """The same with `offset`, complex (B, s, s), taken from the values."""
        return replace(self, value=torch.where(self.known, self.value - offset, 0))

    def exact(self) -> "Datum":
        """The same with the noise not known of."""
        return replace(self, variance=torch.where(self.known, 0.0, torch.inf))


@dataclass(frozen=True)
class Measurement:
    """A batch's measurement.

    Attributes:
        kspace: complex64 (B, N, N), canonical; zero where not measured.
        mask: bool (B, N, N), true where measured.
        decomposition: of the grid.
        estimate: of all bins, canonical: the measured values with the noise's variance, or what a guide made of them.
        guided: whether it is a guide's.
    """

    kspace: Tensor
    mask: Tensor
    decomposition: Decomposition
    estimate: Estimate
    guided: bool = False

    @classmethod
    def of(
        cls, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, decomposition: Decomposition
    ) -> "Measurement":
        """A measurement of which no guide says anything.

        Args:
            kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
            mask: bool (B, N, N) or (1, N, N), true where measured.
            noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero for none.
            decomposition: of the grid.
        """
        mask = mask.expand(kspace.shape)
        data = Estimate.of_data(kspace, mask, noise_sigma)
        return cls(data.kspace, mask, decomposition, data)

    def __len__(self) -> int:
        """Batch elements."""
        return len(self.kspace)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.kspace.device

    def prediction_variance(self, y: Datum, predicted: Tensor, sigma: float) -> Tensor:
        """Variance of a scale's prediction where it is fused with the data, float (B, 1, 1).

        Without a guide it is that of the likelihood. With one it is that, or the mean squared residual where that is
        larger: the prior cannot explain the data then. It is multiplied by 16, because a prediction that was fitted to
        the guide's estimate has errors in common with it, and adds less than its variance says. (Under columns, on
        slices of held-back subjects, 4 gave the error of the guide and a lower SSIM, 16 the least error.)

        Args:
            y: the data of the scale.
            predicted: complex (B, s, s).
            sigma: of the likelihood.
        """
        if not self.guided:
            return torch.full((len(self), 1, 1), sigma**2, device=self.device)
        residual = torch.where(y.known, torch.view_as_real(predicted - y.value).square().mean(-1), 0)
        mean = residual.sum(dim=(1, 2)) / y.known.sum(dim=(1, 2)).clamp_min(1)
        return _CORRELATION * mean.clamp_min(sigma**2)[:, None, None]

    def at(self, scale: Scale) -> Datum:
        """What is known of a scale."""
        ring = self.decomposition.ring(scale.index, self.device)
        variance = torch.where(ring, self.decomposition.block(self.estimate.variance, scale.index), torch.inf)
        value = torch.where(
            variance.isfinite(), self.decomposition.block(self.estimate.kspace, scale.index), 0
        )
        gained = scale.variance() / (scale.variance() + variance)
        return Datum(value, variance, gained.flatten(1).sum(1) / ring.sum())

    def draw(self, draws: Draws) -> Tensor:
        """A draw of the data's error, complex64 (B, N, N): of posterior samples, zero for the others."""
        return self.estimate.draw(draws.noise(self.kspace.shape[1:]))

    def perturbed(
        self, y: Datum, scale: Scale, sigma: float, error: Tensor, draws: Draws
    ) -> tuple[Datum, Tensor]:
        """The data of posterior samples: y less a draw of its error ("randomize then optimize", Bardsley et al. 2014).

        Args:
            y: the data of a scale.
            scale: the scale.
            sigma: of the likelihood.
            error: complex64 (B, N, N), as `draw` gives it.
            draws: batch elements that are no samples keep their data.

        Returns:
            The data, and a draw of what the latents leave open, complex (B, s, s), zero outside the ring.
        """
        ring = self.decomposition.ring(scale.index, self.device)
        residual = torch.where(ring, sigma * draws.bins(scale, "model"), 0)
        return y.shifted(self.decomposition.block(error, scale.index)), residual
