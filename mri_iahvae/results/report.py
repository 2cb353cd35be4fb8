"""The record of a result: what reproduces it, its scores and warnings, as HDF5 attributes and as a JSON report."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.files import name_as_text, write_json
from mri_iahvae.inference.rivals.registry import RIVALS
from mri_iahvae.results.paths import beside
from mri_iahvae.words import counted

_NAMES = {"reconstruct": ("zero-filled", "reconstruction"), "denoise": ("noisy", "denoised")}
SCORED = _NAMES["reconstruct"]
"""Names, in records, of the images that are scored."""


def image_names(task: str) -> dict[str, str]:
    """Names for people of the images that are scored, by their names in records; of "reconstruct" or "denoise"."""
    others = {name: rival.title for name, rival in RIVALS.items()}
    return dict(zip(SCORED, _NAMES[task], strict=True)) | others


@dataclass(frozen=True, eq=False)
class Record:
    """What a result says of itself.

    Attributes:
        source: the input file.
        slices: of the volume.
        settings: everything that reproduces the result, plain JSON values; None where something does not apply.
        steps: float (scales,), mean number of refinement steps.
        out_of_distribution: float (slices,), the score; NaN where there is none.
        beyond_training: the same of what else is judged, by name.
        bounded: bool (slices,), of which something was out of bounds and replaced (`inference.bounds`).
        scores: of the images by name.
    """

    source: Path
    slices: int
    settings: Mapping[str, Any]
    steps: NDArray[np.floating]
    out_of_distribution: NDArray[np.floating]
    beyond_training: Mapping[str, NDArray[np.floating]]
    bounded: NDArray[np.bool_]
    scores: Mapping[str, Scores]

    def caption(self) -> str:
        """What was measured and how it was computed, for a figure; what it is compared with, in a line of its own."""
        stated = self.settings
        rate = stated["true_acceleration"]
        parts = [
            f"mask: {stated['mask']}",
            f"{stated['fraction_measured']:.1%} measured",
            "" if rate is None else f"true acceleration {rate:.3g}x",
            f"noise {stated['noise_sigma']:.3g} ({stated['noise_source']})"
            if "noise_sigma" in stated
            else "",
            f"method {stated['method']}",
            f"steps {stated['steps']}" if stated["steps"] is not None else "",
            counted(stated["samples"], "posterior sample") if stated["samples"] else "",
            f"model {stated['model']}",
        ]
        lines = [", ".join(filter(None, parts))]
        if "compared" in stated:
            lines.append(f"compared: {stated['compared']}")
        return "\n".join(lines)

    def derivation(self) -> str:
        """How the image came about, for files that travel without the others; ASCII, below 1024 letters."""
        stated = self.settings
        return (
            f"Reconstructed with a learned prior (mri-iahvae {stated['version']}, method {stated['method']}, model "
            f"SHA-256 {stated['model_sha256'][:8]}) from {stated['fraction_measured']:.1%} of k-space. What was not "
            "measured is predicted: it can look right and be wrong. Research only, not for diagnosis."
        )

    def attributes(self) -> dict[str, Any]:
        """Attributes of the HDF5 file, which cannot be None: what does not apply is left out."""
        scores = {f"{name} {key}": v for name, s in self.scores.items() for key, v in s.to_dict().items()}
        stored = {key: value for key, value in {**self.settings, **scores}.items() if value is not None}
        if "mask" in stored:  # the dataset of that name has the bins
            stored["mask_description"] = stored.pop("mask")
        if "options" in stored:
            stored["options"] = json.dumps(stored["options"])
        return {
            **stored,
            "input": name_as_text(self.source),  # without its folder: a result may be given away
            "steps_used": self.steps,
            "out_of_distribution": self.out_of_distribution,
            **{f"beyond_training {name}": scores for name, scores in self.beyond_training.items()},
            "bounded": self.bounded,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def write_report(
        self, output: Path, files: Mapping[str, Path], warnings: Sequence[str]
    ) -> dict[str, Any]:
        """Write `<stem>_report.json`, with the other files by kind and warnings; returns it as plain values."""
        path = beside(output, "report")
        report = {
            "input": str(self.source),
            "output": str(output),
            **{kind: str(file) for kind, file in files.items()},
            "report": str(path),
            "slices": self.slices,
            **self.settings,
            "steps_used": self.steps.tolist(),
            "out_of_distribution": _plain(self.out_of_distribution),
            "beyond_training": {name: _plain(scores) for name, scores in self.beyond_training.items()},
            "bounded": np.flatnonzero(self.bounded).tolist(),
            "scores": {name: scores.to_dict() for name, scores in self.scores.items()},
            "warnings": list(warnings),
        }
        write_json(path, report)
        return report


def _plain(values: NDArray[np.floating]) -> list[float | None]:
    """JSON knows no NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]
