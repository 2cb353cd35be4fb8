"""What the guide is made of; without torch."""

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class GuideConfig:
    """Size of the network.

    Attributes:
        steps: unrolled steps, each with weights of its own.
        widths: channels of each level of the U shape, finest first; each level halves the side.
        blocks: residual blocks per level, on the way down and on the way up.
        fold: space-to-depth factor of the finest level.
    """

    steps: int = 5
    widths: tuple[int, ...] = (48, 64, 96, 128)
    blocks: int = 1
    fold: int = 2

    @property
    def multiple(self) -> int:
        """Sides are padded to multiples of this."""
        return int(self.fold * 2 ** (len(self.widths) - 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "widths": tuple(values["widths"])})
