"""Methods that need no training and that a reconstruction is compared with, and the weights that they take.

A weight is a multiple of the noise level sigma: that of the measured bins over their RMS, per real and imaginary part.
The multiples were found on subjects of which no number is reported (`benchmarks/beyond/rival_weights.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from mri_iahvae.errors import UsageError, require_package
from mri_iahvae.inference.rivals.seam import Method
from mri_iahvae.inference.rivals.sense import sense
from mri_iahvae.inference.rivals.total_variation import total_variation
from mri_iahvae.inference.rivals.wavelet import l1_wavelet

ZERO_FILLED = "zero-filled"
"""What every result is compared with; it has no weight."""


@dataclass(frozen=True)
class Rival:
    """A method to compare with.

    Attributes:
        title: of its panel.
        run: the method.
        multiples: of sigma, or of its square: the weights for a single coil and for several; the first is None where
            it cannot do with one.
        squared: whether they are of the square.
        package: what it needs beside the package's own dependencies; empty for nothing.
    """

    title: str
    run: Method
    multiples: tuple[float | None, float]
    squared: bool = False
    package: str = ""

    def multiple(self, coils: int) -> float | None:
        """That of a number of coils."""
        return self.multiples[coils > 1]

    def weight(self, multiple: float, sigma: float) -> float:
        """The weight for a noise level."""
        return multiple * (sigma**2 if self.squared else sigma)

    def stated(self, multiple: float) -> str:
        """Name, package and weight in words."""
        package = f"{self.package} {version(self.package)}, " if self.package else ""
        return f"{self.title} ({package}weight {multiple:g} sigma{'^2' * self.squared})"


RIVALS = {
    "tv": Rival("total variation", total_variation, (0.56, 0.2), package="sigpy"),
    "wavelet": Rival("L1-wavelet", l1_wavelet, (0.4, 0.2), package="sigpy"),
    "sense": Rival("SENSE", sense, (None, 1.6), squared=True),
}


def require_rivals(asked: Mapping[str, float | None]) -> None:
    """Refuse names that there are not, packages that are missing, and a weight of what has none.

    Raises:
        UsageError: one of these.
    """
    for name, multiple in asked.items():
        if name == ZERO_FILLED:
            if multiple is not None:
                raise UsageError(f"--compare {name}={multiple:g}: {name} has no weight; leave it out")
        elif name not in RIVALS:
            raise UsageError(f"--compare {name}: expected names among {', '.join((ZERO_FILLED, *RIVALS))}")
        elif RIVALS[name].package:
            require_package(RIVALS[name].package, f"--compare {name}", "compare")
