"""Scores of many volumes, put together as fastMRI's leaderboard does: every volume counts once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from mri_iahvae.evaluation.metrics import Scores, finite

METRICS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1; NaN for a single volume) of each score over volumes, by name."""

    volumes: int
    mean: dict[str, float]
    std: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        return {"volumes": self.volumes, "mean": finite(self.mean), "std": finite(self.std)}


def summarise(scores: Sequence[Scores]) -> Summary:
    """Mean and standard deviation over volumes, each of the same weight whatever its number of slices."""
    values = np.array([list(asdict(one).values()) for one in scores])
    with np.errstate(invalid="ignore"):  # a perfect volume's PSNR is infinite
        std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(METRICS), np.nan)
    mean, std = (dict(zip(METRICS, row.tolist(), strict=True)) for row in (values.mean(axis=0), std))
    return Summary(len(values), mean, std)
