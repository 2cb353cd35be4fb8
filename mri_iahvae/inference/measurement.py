"""What is known of each coefficient: a datum and its variance; and the one formula that fuses it with a prediction."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.settings import DataConsistency
from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.model.protocols import Scale


@dataclass(frozen=True)
class Datum:
    """One scale of a batch's measurement, canonical units.

    Attributes:
        value: complex (B, s, s), y; zero where not measured.
        variance: float (B, s, s), of each real and imaginary part: that of the noise where measured, else infinite.
        fraction: float (B,), fraction of the scale's coefficients that is measured.
    """

    value: Tensor
    variance: Tensor
    fraction: Tensor

    @property
    def mask(self) -> Tensor:
        """Bool (B, s, s), true where measured."""
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

    def shown(self, predicted: Tensor, fused: Tensor, data_consistency: DataConsistency) -> Tensor:
        """What the output holds: complex (B, s, s).

        Args:
            predicted: the model's coefficients.
            fused: their posterior mean given the data.
            data_consistency: "hard" puts the data back, "soft" takes the posterior mean, "none" the model's own.
        """
        hard = torch.where(self.mask, self.value, predicted)
        return {"none": predicted, "soft": fused, "hard": hard}[data_consistency]

    def weight(self, variance: float) -> Tensor:
        """1 / (2 (v + n)), float (B, s, s): zero where not measured."""
        return 0.5 / (variance + self.variance)

    def shifted(self, offset: Tensor) -> "Datum":
        """The same with `offset`, complex (B, s, s), taken from the values."""
        return replace(self, value=torch.where(self.mask, self.value - offset, 0))

    def exact(self) -> "Datum":
        """The same with the noise not known of."""
        return replace(self, variance=torch.where(self.mask, 0.0, torch.inf))


@dataclass(frozen=True)
class Measurement:
    """A batch's measurement.

    Attributes:
        kspace: complex64 (B, N, N), canonical; zero where not measured.
        mask: bool (B, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero for none.
        decomposition: of the grid.
    """

    kspace: Tensor
    mask: Tensor
    noise_sigma: Tensor
    decomposition: Decomposition

    @classmethod
    def of(
        cls, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, decomposition: Decomposition
    ) -> "Measurement":
        """A measurement; values at unmeasured bins are ignored, and `mask` may be (1, N, N)."""
        mask = mask.expand(kspace.shape)
        return cls(torch.where(mask, kspace, 0), mask, noise_sigma, decomposition)

    def __len__(self) -> int:
        """Batch elements."""
        return len(self.kspace)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.kspace.device

    def at(self, scale: Scale) -> Datum:
        """What is known of a scale."""
        ring = self.decomposition.ring(scale.index, self.device)
        mask = self.decomposition.block(self.mask, scale.index) & ring
        noise = self.noise_sigma.square()[:, None, None]
        value = torch.where(mask, self.decomposition.block(self.kspace, scale.index), 0)
        return Datum(value, torch.where(mask, noise, torch.inf), mask.flatten(1).sum(1) / ring.sum())

    def elements(self, chosen: Tensor) -> "Measurement":
        """Some of the batch elements, int64 (n,)."""
        return replace(
            self, kspace=self.kspace[chosen], mask=self.mask[chosen], noise_sigma=self.noise_sigma[chosen]
        )

    def perturbed(self, y: Datum, scale: Scale, sigma: float, draws: Draws) -> tuple[Datum, Tensor]:
        """The data of posterior samples: y less a draw of its noise ("randomize then optimize", Bardsley et al. 2014).

        Args:
            y: the data of a scale.
            scale: the scale.
            sigma: of the likelihood.
            draws: batch elements that are no samples keep their data.

        Returns:
            The data, and a draw of what the latents leave open, complex (B, s, s), zero outside the ring.
        """
        noise = self.noise_sigma[:, None, None] * draws.bins(scale, "noise")
        ring = self.decomposition.ring(scale.index, self.device)
        return y.shifted(noise), torch.where(ring, sigma * draws.bins(scale, "model"), 0)
