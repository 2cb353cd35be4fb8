"""What makes scores meaningless: a volume in other units than its target, or one that is turned."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

_BRIGHTER = 4.0  # times: what is left out of k-space dims an image by less
_CLOSER = 0.5  # of the angle: heads are nearly symmetric
_WORDS = "rows and columns exchanged", "rows in reverse", "columns in reverse"
_TURNS = tuple(product((False, True), repeat=3))


class Mismatch:
    """Compares a volume with its target, some slices at a time; only sums are kept."""

    def __init__(self) -> None:
        self._products = np.zeros(len(_TURNS))
        self._energies = np.zeros(2)

    def add(self, target: NDArray[np.floating], image: NDArray[np.floating]) -> None:
        """Count some slices, (n, H, W) each."""
        self._energies += np.vdot(target, target), np.vdot(image, image)
        for number, (exchanged, *reverse) in enumerate(_TURNS):
            turned = image.swapaxes(1, 2) if exchanged else image
            turned = np.flip(turned, tuple(axis for axis in (1, 2) if reverse[axis - 1]))
            if turned.shape == target.shape:
                self._products[number] += np.sum(target * turned)

    def text(self) -> str:
        """One sentence; nothing where they match."""
        if not self._energies.all():
            return ""
        ratio = float(np.sqrt(self._energies[1] / self._energies[0]))
        if not 1 / _BRIGHTER < ratio < _BRIGHTER:
            return (
                f"the image is {ratio:.3g} times as bright as its target: scores compare numbers as they are, so both "
                "have to be in the same units"
            )
        angles = np.arccos(np.minimum(1, self._products / np.sqrt(self._energies.prod())))
        best = int(angles.argmin())
        if angles[best] >= _CLOSER * angles[0]:
            return ""
        words = " and ".join(word for word, turned in zip(_WORDS, _TURNS[best], strict=True) if turned)
        return f"the image fits its target far better with {words}: is one of them turned?"
