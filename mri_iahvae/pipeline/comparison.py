"""The same measurement by methods that need no training, to stand beside a result."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.rivals.registry import RIVALS, ZERO_FILLED
from mri_iahvae.kspace.coils import combine, rss
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.kspace.sensitivities import calibrate
from mri_iahvae.pipeline.request import CoilCombine
from mri_iahvae.scans.scan import Scan

_QUIET = 1e-3
"""Lowest noise level that a weight is taken for, over the RMS: below it the data are met as good as exactly."""


@dataclass(frozen=True)
class Comparison:
    """The methods that a result is compared with.

    Attributes:
        multiples: the weight of each by its name (`rivals.registry`), in the order of the figure; None for what has
            none.
        combine: how coil images are combined.
        hard: whether measured bins are put back, as they are in the result.
        acquired: first column that the scanner acquired, and the first one after the last; None: all. The others are
            known to be zero.
    """

    multiples: Mapping[str, float | None]
    combine: CoilCombine = "rss"
    hard: bool = True
    acquired: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, asked: Mapping[str, float | None], scan: Scan, *, combine: CoilCombine, hard: bool
    ) -> "Comparison":
        """The comparison with methods by name, with the weights that are asked for, or None for the default.

        Raises:
            UsageError: a method that cannot do with the scan.
        """
        multiples = {}
        for name, multiple in asked.items():
            default = None if name == ZERO_FILLED else RIVALS[name].multiple(scan.coils)
            if name != ZERO_FILLED and default is None:
                raise UsageError(
                    f"--compare {name}: {scan.path} holds a single coil, expected several; leave it out"
                )
            multiples[name] = default if multiple is None else multiple
        return cls(multiples, combine, hard, scan.acquired)

    @property
    def weighted(self) -> dict[str, float]:
        """All but zero-filling."""
        return {name: multiple for name, multiple in self.multiples.items() if multiple is not None}

    def stated(self, sigma: float, source: str) -> str | None:
        """In words, with the noise level and where it comes from; None where there is nothing to state."""
        words = [RIVALS[name].stated(multiple) for name, multiple in self.weighted.items()]
        return ", ".join([*words, f"sigma {sigma:.3g} ({source})"]) if words else None

    def magnitudes(
        self,
        kspace: NDArray[np.complex64],
        mask: NDArray[np.bool_],
        sigma: NDArray[np.floating],
        sensitivities: NDArray[np.complex64] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """The images of consecutive slices by the name of the method, float32 (n, H, W), in the units of `kspace`.

        Args:
            kspace: (n, C, H, W); values at unmeasured bins are ignored.
            mask: bool (H, W) or (n, H, W), true where measured.
            sigma: float (n,), noise level per real and imaginary part.
            sensitivities: (n or 1, C, H, W), of any scale; None takes those of the calibration region.
        """
        if not self.weighted:
            return {}
        masks = np.broadcast_to(mask, (len(kspace), *kspace.shape[2:]))
        given = (
            [None] * len(kspace) if sensitivities is None else np.broadcast_to(sensitivities, kspace.shape)
        )
        slices = [self._slice(*one) for one in zip(kspace, masks, sigma, given, strict=True)]
        return {name: np.stack([one[name] for one in slices]) for name in self.weighted}

    def _slice(
        self,
        kspace: NDArray[np.complex64],
        mask: NDArray[np.bool_],
        sigma: float,
        given: NDArray[np.complex64] | None,
    ) -> dict[str, NDArray[np.float32]]:
        padding = np.ones(kspace.shape[-1], bool)
        padding[slice(*(self.acquired or (None,)))] = False
        kspace = np.where(mask & ~padding, kspace, 0)
        unit = float(np.linalg.norm(kspace.astype(np.complex128))) / math.sqrt(kspace.size)
        if unit == 0:
            return dict.fromkeys(self.weighted, np.zeros(mask.shape, np.float32))
        bins, level, known = (kspace / unit).astype(np.complex64), float(sigma / unit), mask | padding
        maps = _sensitivities(bins, mask, level) if given is None else _scaled(given)
        found = {}
        for name, multiple in self.weighted.items():
            rival = RIVALS[name]
            image = rival.run(bins, known, maps, rival.weight(multiple, max(level, _QUIET)))
            coils = torch.from_numpy(image[None] if maps is None else maps * image)
            kept = torch.from_numpy(known if self.hard else padding)
            whole = ifft2c(torch.where(kept, torch.from_numpy(bins), fft2c(coils)))[None]
            weighted = maps is not None and self.combine == "sensitivity"
            one = combine(whole, torch.from_numpy(maps)[None]).abs() if weighted else rss(whole)
            found[name] = (one[0] * unit).numpy()
        return found


def _sensitivities(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], sigma: float
) -> NDArray[np.complex64] | None:
    """Of the coils (C, H, W), from the calibration region; None for a single one."""
    if len(kspace) == 1:
        return None
    level = torch.tensor([sigma or estimate_sigma(kspace, mask)])
    maps: NDArray[np.complex64] = (
        calibrate(torch.from_numpy(kspace)[None], torch.from_numpy(mask.copy()), level)
        .sensitivities[0]
        .numpy()
    )
    return maps


def _scaled(maps: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Sensitivities (C, H, W) with sum_c |S_c|^2 = 1 where they are not zero."""
    norm = np.linalg.norm(maps, axis=0)
    return np.divide(maps, norm, out=np.zeros_like(maps), where=norm > 0)
