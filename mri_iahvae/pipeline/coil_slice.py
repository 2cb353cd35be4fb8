"""One slice that several coils measured: sensitivities, the guide's estimate, samples of its error, combinations."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.guidance import estimate_combined
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.coils import Sense, combine, rss, virtual_coil
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.sensitivities import Coils, calibrate, known_coils
from mri_iahvae.model.coil_estimate import CoilEstimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.pipeline.request import CoilCombine
from mri_iahvae.pipeline.steps import Progress, guide_calls, reported
from mri_iahvae.pipeline.volume import deviation


@dataclass(frozen=True)
class CoilSlice:
    """A slice as its coils measured it; all arrays have an axis of length 1 first.

    Attributes:
        kspace: complex64 (1, C, H, W), zero where not measured.
        measured: bool (1, H, W).
        known: the same with columns that were never acquired, which are zero in the fully sampled scan as well.
        sigma: float (1,), noise of every coil.
        maps: complex64 (1, C, H, W), the sensitivities; None where the calibration region shows them.
        number: of the slice in its volume: what is drawn depends on it.
    """

    kspace: Tensor
    measured: Tensor
    known: Tensor
    sigma: Tensor
    maps: Tensor | None
    number: int

    def reconstruct(
        self,
        guide: Guide,
        settings: InferenceSettings,
        how: CoilCombine,
        kept: tuple[str, ...],
        progress: Progress,
    ) -> dict[str, Tensor]:
        """Reconstruct the slice.

        Args:
            guide: the network.
            settings: how.
            how: the coil images are combined.
            kept: which of "coil_kspace", "sensitivities" and "samples" to return.
            progress: called with what was just finished, of the whole.

        Returns:
            By name, on the CPU: "image" and "zero_filled", combined, complex64 (1, H, W); "virtual" and "whole",
            k-space of the virtual coil before and after, and its "weights" (1, C); "filled", bins that hold something,
            bool; "bounded", bool (1,); "std", float (1, H, W), of two samples or more; and what is to be kept.
        """
        coils = self._coils()
        row = self.known[:, None, :1]  # suffices for columns
        columns = bool((self.known[:, None] == row).all())
        sense = Sense(coils.sensitivities, row if columns else self.known[:, None])
        with reported(*guide_calls(guide, settings), 1.0, progress):
            found, bounded = estimate_combined(
                guide, self.kspace, sense, self.sigma, settings.precision, settings.symmetries
            )
        held = self.known if settings.data_consistency == "hard" else self.known & ~self.measured

        def bins_of(image: Tensor) -> Tensor:
            return torch.where(held[:, None], self.kspace, fft2c(coils.sensitivities * image[:, None]))

        bins = bins_of(found.image)
        results = {
            "image": combined(bins, coils, how),
            "zero_filled": combined(self.kspace, coils, how),
            "virtual": virtual_coil(self.kspace, coils.weights),
            "whole": virtual_coil(bins, coils.weights),
            "weights": coils.weights,
            "filled": (bins != 0).any(dim=1),
            "bounded": bounded,
            "coil_kspace": bins,
            "sensitivities": coils.sensitivities,
        }
        if settings.samples:
            images = [
                combined(bins_of(found.image - error), coils, how) for error in self._errors(found, settings)
            ]
            results["samples"] = torch.stack(images, dim=1)
            if settings.samples > 1:
                results["std"] = deviation(results["samples"].abs())
        left_out = {"coil_kspace", "sensitivities", "samples"} - set(kept)
        return {name: values.cpu() for name, values in results.items() if name not in left_out}

    def _coils(self) -> Coils:
        if self.maps is None:
            return calibrate(self.kspace, self.measured[0], self.sigma)
        return known_coils(self.maps, self.kspace)

    def _errors(self, found: CoilEstimate, settings: InferenceSettings) -> Iterator[Tensor]:
        """Draws of the error of the estimate, complex64 (1, H, W), one for each sample; zero without signal."""
        signal = (self.kspace != 0).any()
        for sample in range(settings.samples):
            elements, device = (Element(self.number, sample),), self.kspace.device
            draws = Draws(settings.seed, settings.temperature, elements, device)
            error, noise = draws.noise(self.kspace.shape[2:]), draws.coil_noise(self.kspace.shape[1:])
            yield torch.where(signal, found.draw(error, noise), 0)


def combined(kspace: Tensor, coils: Coils, how: CoilCombine) -> Tensor:
    """The coil images as one: complex64 (B, C, H, W) to (B, H, W)."""
    images = ifft2c(kspace)
    weighted = combine(images, coils.sensitivities)
    return weighted if how == "sensitivity" else torch.polar(rss(images), weighted.angle())
