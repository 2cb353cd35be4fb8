"""Whether a frame's refinement gains by starting from the latents of the frame before, instead of the usual start.

    python -m benchmarks.beyond.latents data/reporting --json benchmarks/beyond/latents.json

The series are those of `benchmarks.beyond.series`: breathing, random columns 8x, other ones in each frame. The usual
start is the encoder's posterior mean where there is a guide, and the prior mean where there is none; the first frame
always has it. One copy of the measurement goes through the guide, so that the refinement is all that differs.
"""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.beyond.series import Sampling, measured, middle_slices, moving, nmse
from benchmarks.shared import options
from mri_iahvae import Reconstructor
from mri_iahvae.files import write_json
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.infer import METHODS, Problem
from mri_iahvae.inference.methods import Found, Method
from mri_iahvae.inference.settings import InferenceSettings

HEADER = """
| estimate | steps | usual start | latents of the last frame | gain |
| --- | --- | --- | --- | --- |"""
_GUIDED = {"method": "hybrid", "symmetries": 1}
ROWS: dict[tuple[str, int], dict[str, Any]] = {
    ("without guide, frame by frame", 3): {"method": "iterative"},
    ("without guide, frame by frame", 10): {"method": "iterative"},
    ("guide, frame by frame", 1): _GUIDED,
    ("guide, frame by frame", 3): _GUIDED,
    ("guide, series", 1): {**_GUIDED, "series": True},
    ("guide, series", 3): {**_GUIDED, "series": True},
}
"""Settings by their names and steps."""


class Carried:
    """A method whose refinement of a scale starts from what it last found for that scale; at first as `usual`."""

    def __init__(self, usual: Method) -> None:
        self._usual = usual
        self._latents: dict[int, list[Tensor]] = {}

    def start(self, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        """As `methods.Start`."""
        latents, std = self._usual.start(problem)
        return self._latents.get(problem.scale.index, latents), std

    def refine(
        self,
        problem: Problem,
        start: list[Tensor],
        std: list[Tensor],
        settings: InferenceSettings,
        draws: Draws,
    ) -> Found:
        """As `methods.Refine`."""
        found = self._usual.refine(problem, start, std, settings, draws)
        self._latents[problem.scale.index] = found.latents
        return found


@click.command()
@options.data
@options.checkpoint
@click.option("--every", default=3, show_default=True, help="Take every n-th file.")
@options.output
def main(data: Path, checkpoint: str, every: int, output: Path | None) -> None:
    """Compare on series that are made of the fastMRI-schema files in DATA."""
    torch.set_num_threads(1)
    slices = middle_slices(data, every)
    rows: list[dict] = []
    click.echo(HEADER)
    for (name, steps), settings in ROWS.items():
        reconstructor = Reconstructor(checkpoint, "cpu", steps=steps, **settings)
        method = settings["method"]
        scores: dict[str, list[float]] = {"usual": [], "carried": []}
        for seed, magnitude in enumerate(slices.values()):
            truth = moving(magnitude, contrast=False)
            mask = Sampling(8).mask(truth.shape[-1])
            kspace = measured(truth, mask, seed)
            carried = Carried(METHODS[method])
            starts = {
                "usual": METHODS[method],
                "carried": METHODS[method]._replace(start=carried.start, refine=carried.refine),
            }
            for start, used in starts.items():
                with patch.dict(METHODS, {method: used}):  # frames one by one, in their order
                    image = reconstructor.reconstruct(kspace, mask, batch=1).image
                scores[start].append(nmse(truth, image))
        rows.append({"estimate": name, "steps": steps, "nmse": scores})
        usual, other = (float(np.mean(values)) for values in scores.values())
        click.echo(f"| {name} | {steps} | {usual:.4f} | {other:.4f} | {1 - other / usual:.1%} |")
        if output is not None:
            write_json(output, {"files": list(slices), "rows": rows})


if __name__ == "__main__":
    main()
