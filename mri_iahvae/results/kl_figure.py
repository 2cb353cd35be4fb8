"""Figure of a training run: the KL divergence of each scale at every validation, from the run's log."""

import json
import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mri_iahvae.files import atomic_path

_INCHES = (7.0, 4.0)
_DPI = 120


def kl_figure(path: Path, log: Path) -> None:
    """Write a PNG: nats per slice against the step, one line for each scale, stages one after the other.

    A scale whose divergence falls to zero is one whose latents say nothing of the slice: posterior collapse.

    Args:
        path: the file.
        log: `log.jsonl` of a run; of its lines those of validations with a divergence count.

    Raises:
        IahvaeError: the file cannot be written.
    """
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    validations = list(_validations(log))
    lines = divergences(validations)
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    colours = colormaps["viridis"].resampled(max(2, len(lines)))
    for number, (side, points) in enumerate(lines.items()):
        axes.plot(*zip(*points, strict=True), ".-", color=colours(number), label=f"{side}x{side}")
    axes.set(xlabel="step", ylabel="KL divergence of held-out slices, nats")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))  # so that its ticks are powers of ten
    axes.legend(title="scale", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_path(path) as part:
        figure.savefig(part, format="png")


def divergences(validations: list[dict[str, Any]]) -> dict[int, list[tuple[int, float]]]:
    """Steps, counted over stages, and nats of each scale, by its side; NaN where a value was not finite."""
    found: dict[int, list[tuple[int, float]]] = {}
    before = last = 0
    for _, stage in groupby(validations, key=lambda entry: entry["stage"]):
        for entry in stage:
            last = before + entry["step"]
            for index, value in enumerate(entry["kl"]):
                found.setdefault(2**index, []).append((last, math.nan if value is None else value))
        before = last
    return found


def _validations(log: Path) -> Iterator[dict[str, Any]]:
    with log.open() as file:
        for line in file:
            entry = json.loads(line)
            if entry["kind"] == "validation" and "kl" in entry:
                yield entry
