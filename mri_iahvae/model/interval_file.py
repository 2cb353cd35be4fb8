"""How wide the intervals of a checkpoint's reconstructions are: one file `intervals.json`."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from mri_iahvae.errors import CheckpointError
from mri_iahvae.files import write_json
from mri_iahvae.model.checkpoint_config import INTERVALS, find_checkpoint


@dataclass(frozen=True)
class Intervals:
    """Intervals about the magnitude, calibrated on held-back slices (`training.intervals`).

    Attributes:
        level: fraction of an object's pixels that lie within, expected of a slice.
        factor: half-width over the expected error (`inference.uncertainty`).
        slices: that it was calibrated on.
        guide_sha256: of the file of the guide whose errors they are.
    """

    level: float
    factor: float
    slices: int
    guide_sha256: str


def save_intervals(intervals: Intervals, folder: Path) -> None:
    """Write the intervals of a checkpoint."""
    write_json(folder / INTERVALS, asdict(intervals))


def load_intervals(checkpoint: str | Path) -> Intervals | None:
    """Load the intervals of a checkpoint; None where there are none.

    Raises:
        UsageError: no such model or folder.
        CheckpointError: the file cannot be read as intervals.
    """
    path = find_checkpoint(checkpoint) / INTERVALS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        level, factor = float(content["level"]), float(content["factor"])
        if not (0 < level < 1 and 0 < factor < math.inf):
            raise ValueError("numbers out of range")
        return Intervals(level, factor, int(content["slices"]), str(content["guide_sha256"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as intervals ({error}); calibrate again") from None
