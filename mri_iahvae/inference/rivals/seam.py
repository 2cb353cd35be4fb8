"""The seam of methods that need no training: a method is a function of a slice's measurement and a weight."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Bins = NDArray[np.complex64]
"""(C, H, W), of each coil."""
Image = NDArray[np.complex64]
"""(H, W)."""
Mask = NDArray[np.bool_]
"""(H, W), true where measured."""


class Method(Protocol):
    """Reconstructs one slice."""

    def __call__(self, kspace: Bins, mask: Mask, sensitivities: Bins | None, weight: float, /) -> Image:
        """The image, as sum_c conj(S_c) x_c of the coils would be.

        Args:
            kspace: of each coil, zero where not measured, divided by the RMS of all its bins: one weight then suits
                slices of any units.
            mask: the measured bins.
            sensitivities: sum_c |S_c|^2 = 1; None for a single coil.
            weight: of the regularisation.
        """
