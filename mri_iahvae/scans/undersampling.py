"""Which k-space bins of a scan count as measured: what the file holds, and what the user asks for of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError
from mri_iahvae.files import name_and_digest, name_as_text
from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.masks import DrawnMask, MaskAxis, MaskType, drawn_mask, true_acceleration
from mri_iahvae.scans.formats.bart import bart_name
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.mask_file import exchanged, read_mask_file
from mri_iahvae.scans.scan import MaskSource, Scan
from mri_iahvae.words import counted

_OWN: dict[MaskSource, str] = {
    "full": "full sampling",
    "file": "the file's own",
    "zeros": "inferred from exact zeros",
}
_EMPTY = "no measured k-space bin is left"


@dataclass(frozen=True, eq=False)
class SampledMask:
    """The bins that count as measured.

    Attributes:
        mask: bool (height, width) for all slices, or (slices, height, width).
        source: where it comes from: the scan (`Scan.mask_source`), a mask file, or drawn at random.
        description: in words.
        acquired: first column that the scanner acquired, and the first one after the last.
        warnings: one sentence each.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    source: MaskSource | Literal["mask file", "acceleration"]
    description: str
    acquired: tuple[int, int]
    warnings: tuple[str, ...] = ()

    @property
    def true_acceleration(self) -> float | None:
        """All bins of the acquired columns over measured bins; None where nothing is measured."""
        return true_acceleration(self.mask[..., slice(*self.acquired)])

    def of(self, number: int) -> NDArray[np.bool_]:
        """Of one slice, bool (height, width)."""
        return self.mask if self.mask.ndim == 2 else self.mask[number]

    def within(self, geometry: Geometry, up_to: int | None = None) -> "SampledMask":
        """The same on k-space without readout oversampling, and within the centred block of side `up_to`."""
        mask, description, warnings = geometry.reduce_mask(self.mask), self.description, self.warnings
        if up_to is not None:
            central = np.zeros(geometry.field, bool)
            rows, columns = (centre_block(n, up_to) for n in geometry.field)
            central[rows, columns] = True
            if mask.any() and not (mask & central).any():
                warnings = (*warnings, _EMPTY)
            mask, description = mask & central, f"{description}, up to {up_to}x{up_to}"
        return replace(self, mask=mask, description=description, warnings=warnings)

    def to_json(self) -> dict[str, Any]:
        """For the record: plain values."""
        return {
            "mask_source": self.source,
            "mask": self.description,
            "true_acceleration": self.true_acceleration,
        }


@dataclass(frozen=True)
class Sampling:
    """What the user asks for; nothing is the scan's own sampling.

    Attributes:
        mask_path: a mask file, see `read_mask_file`.
        acceleration: of a mask that is drawn, see `DrawnMask` for this and the others.
        center_fraction: fraction of the lines around the centre.
        mask_type: "random", "equispaced", "magic" or "poisson".
        mask_axis: "columns" or "rows".
        mask_seed: None takes the name of the scan's file, as the fastMRI challenge does.

    Raises:
        UsageError: options that contradict each other, or values that cannot be.
    """

    mask_path: Path | None = None
    acceleration: int | None = None
    center_fraction: float | None = None
    mask_type: MaskType | None = None
    mask_axis: MaskAxis | None = None
    mask_seed: int | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self._drawn is not None and self.mask_path is not None:
            raise UsageError("give --mask or --acceleration, not both")

    def apply(self, scan: Scan) -> SampledMask:
        """The bins that the file holds and this sampling keeps; perhaps none, with a warning."""
        source: MaskSource | Literal["mask file", "acceleration"]
        if self.mask_path is not None:
            asked = read_mask_file(self.mask_path, scan.height, scan.width, scan.slices)
            source, description = "mask file", name_as_text(self.mask_path)
        elif (drawn := self._drawn) is not None:
            asked = drawn.mask((scan.height, scan.width), scan.path.name)
            seed = "the file's name" if drawn.seed is None else drawn.seed
            source, description = "acceleration", f"{drawn}, seed {seed}"
        else:
            asked, source, description = scan.mask, scan.mask_source, _OWN[scan.mask_source]
        mask, warnings = asked & scan.mask, list[str]()
        if self != OWN_SAMPLING and not scan.fully_sampled:
            inferred = scan.mask_source == "zeros"
            description += f", within that {_OWN['zeros']}" if inferred else ", within the file's own"
        # Drawn columns often meet padding, as in the fastMRI challenge; a mask file should know better.
        if self.mask_path is not None and (lacking := np.count_nonzero(asked & ~scan.mask)):
            fraction = lacking / np.count_nonzero(asked)
            hint = "; it fits with rows and columns exchanged" * exchanged(asked, scan.mask)
            bins = f"{counted(int(lacking), 'bin')} of the mask ({fraction:.1%})"
            verb = "is" if lacking == 1 else "are"
            warnings.append(f"{bins} {verb} not in the file: taken as unmeasured{hint}")
        if scan.mask.any() and not mask.any():
            warnings.append(_EMPTY)
        return SampledMask(mask, source, description, scan.acquired, tuple(warnings))

    def to_json(self) -> dict[str, Any]:
        """For the record: the options by name, with their defaults; plain values."""
        drawn = self._drawn
        return {
            "mask": self.mask_path and name_and_digest(bart_name(self.mask_path)),
            "acceleration": drawn and drawn.acceleration,
            "center_fraction": drawn and drawn.center_fraction,
            "mask_type": drawn and drawn.mask_type,
            "mask_axis": drawn and drawn.axis,
            "mask_seed": self.mask_seed,
        }

    @property
    def _drawn(self) -> DrawnMask | None:
        return drawn_mask(
            self.acceleration, self.center_fraction, self.mask_type, self.mask_axis, self.mask_seed
        )


OWN_SAMPLING = Sampling()
"""The scan's own."""
