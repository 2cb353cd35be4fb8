"""Conformal risk control (Angelopoulos et al., arXiv 2208.02814) of the fraction of pixels outside an interval.

Split conformal prediction (Angelopoulos and Bates, arXiv 2107.07511) is the case of one pixel in each slice.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9


def conformal_factor(scores: Sequence[NDArray[np.floating]], level: float) -> float:
    """The smallest factor whose intervals hold for new slices that are exchangeable with those given.

    A pixel lies outside where its score, its error over what was expected, is above the factor. With n slices and L_i
    the fraction of slice i outside, the factor is the smallest with (sum of L_i + 1) / (n + 1) <= 1 - level. The
    expected fraction of a new slice's pixels outside is then at most 1 - level, over slices and calibrations.

    Args:
        scores: of the pixels of each slice, in any number.
        level: fraction of the pixels that shall lie within, above 0 and below 1.

    Returns:
        The factor; infinity for fewer slices than level / (1 - level).
    """
    most = (len(scores) + 1) * (1 - level) - 1 + _ROUNDING
    if most < 0:
        return math.inf
    values = np.concatenate(scores)
    weights = np.concatenate([np.full(one.size, 1 / one.size) for one in scores])
    order = np.argsort(values)[::-1]
    outside = np.cumsum(weights[order]) - weights[order]  # above each score, were no other equal to it
    return float(values[order][np.count_nonzero(outside <= most) - 1])
