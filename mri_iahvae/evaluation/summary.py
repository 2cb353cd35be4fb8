"""Scores of many volumes, put together as fastMRI's leaderboard does: every volume counts once."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from mri_iahvae.evaluation.metrics import Scores

METRICS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class Summary:
    """Scores over volumes.

    Attributes:
        volumes: how many.
        mean: of each score, by name.
        std: sample standard deviation (n - 1) of each score, by name; NaN for a single volume.
    """

    volumes: int
    mean: dict[str, float]
    std: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """For JSON: what is not finite becomes None."""

        def plain(values: dict[str, float]) -> dict[str, float | None]:
            return {name: value if math.isfinite(value) else None for name, value in values.items()}

        return {"volumes": self.volumes, "mean": plain(self.mean), "std": plain(self.std)}


def summarise(scores: Sequence[Scores]) -> Summary:
    """Mean and standard deviation over volumes, each of the same weight whatever its number of slices."""
    values = np.array([list(asdict(one).values()) for one in scores])
    with np.errstate(invalid="ignore"):  # a perfect volume's PSNR is infinite
        std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(METRICS), np.nan)
    mean = values.mean(axis=0)
    return Summary(
        len(values),
        dict(zip(METRICS, mean.tolist(), strict=True)),
        dict(zip(METRICS, std.tolist(), strict=True)),
    )
