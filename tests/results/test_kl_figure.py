"""The figure of divergences: what it takes from the log of a run."""

import json
import math

from PIL import Image

from mri_iahvae.results.kl_figure import divergences, kl_figure

LOG = [
    {"kind": "step", "stage": 0, "step": 10, "loss": 1.0},
    {"kind": "validation", "stage": 0, "step": 10, "kl": [2.0, 0.0]},
    {"kind": "validation", "stage": 0, "step": 20, "kl": [3.0, None]},
    {"kind": "validation", "stage": 1, "step": 5, "kl": [3.0, 1.0, 0.5]},
    {"kind": "validation", "stage": 2, "step": 5, "nmse": 0.1},
]


def test_stages_follow_each_other():
    found = divergences(LOG[1:4])
    assert found[1] == [(10, 2.0), (20, 3.0), (25, 3.0)]
    assert found[4] == [(25, 0.5)]
    assert math.isnan(found[2][1][1])  # was not finite


def test_only_validations_of_the_hierarchy_count(tmp_path):
    """The figure is that of the log without the other lines, and not that of fewer validations."""

    def drawn(name, entries):
        log, path = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.png"
        log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        kl_figure(path, log)
        with Image.open(path) as image:
            return image.tobytes()

    assert drawn("all", LOG) == drawn("validations", LOG[1:4]) != drawn("fewer", LOG[1:3])
