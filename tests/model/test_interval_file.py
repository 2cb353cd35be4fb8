"""The intervals of a checkpoint: written, read, and files that are none."""

import json

import pytest

from mri_iahvae.errors import CheckpointError
from mri_iahvae.model.checkpoint_config import INTERVALS
from mri_iahvae.model.interval_file import Intervals, load_intervals, save_intervals
from tests.refusals import refused

WIDE = Intervals(0.9, 2.5, 280, "abc")


def test_round_trip(tmp_path):
    assert load_intervals(tmp_path) is None
    save_intervals(WIDE, tmp_path)
    assert load_intervals(tmp_path) == WIDE


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '"text"',
        json.dumps({"level": 0.9}),
        *(
            json.dumps({**vars(WIDE), name: value})
            for name, value in (("level", 1), ("factor", 0), ("factor", "wide"), ("slices", None))
        ),
        json.dumps({**vars(WIDE), "factor": float("nan")}),
    ],
)
def test_what_are_no_intervals_is_refused(tmp_path, content):
    (tmp_path / INTERVALS).write_text(content)
    refused(lambda: load_intervals(tmp_path), "cannot be read as intervals", error=CheckpointError)
