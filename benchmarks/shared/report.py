"""What benchmarks print and store of their numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.pipeline.loaded import LoadedModel


def line(row: Mapping[str, float], form: str) -> str:
    """Names and values of a row, the values in a format such as ".3f"."""
    return "  ".join(f"{name} {value:{form}}" for name, value in row.items())


def scores_line(row: Mapping[str, float]) -> str:
    """fastMRI's scores and the time of a slice."""
    return (
        f"NMSE {row['nmse']:.5f}  PSNR {row['psnr']:6.2f}  SSIM {row['ssim']:.4f}  "
        f"{row['seconds_per_slice']:7.3f} s/slice"
    )


def hashes(loaded: LoadedModel) -> dict[str, str | None]:
    """SHA-256 of the weights of a model and of its guide."""
    return {"model_sha256": loaded.sha256, "guide_sha256": loaded.guide_sha256}


def within(distances: Sequence[NDArray[np.floating]]) -> dict[str, float]:
    """Fraction of all pixels that lie within 1, 2 and 3 standard deviations; distances in units of one."""
    return {f"within {k}": float((np.concatenate(distances) < k).mean()) for k in (1, 2, 3)}
