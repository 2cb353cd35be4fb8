"""The coarse prior's file: files that are none. The round trip is in `tests.training.test_coarse_prior`."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mri_iahvae.errors import CheckpointError
from mri_iahvae.model.checkpoint_config import COARSE
from mri_iahvae.model.coarse_file import load_coarse, save_coarse
from mri_iahvae.model.coarse_prior import CoarsePrior
from tests.model.test_mixture import random_mixture
from tests.refusals import refused


def test_a_checkpoint_without_one(tmp_path):
    assert load_coarse(tmp_path) is None


def changed(path, **arrays):
    save_file({**load_file(path), **arrays}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1"),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: save_file({"means": torch.zeros(3, 8)}, path),
        lambda path: changed(path, means=torch.zeros(3, 6)),
        lambda path: changed(path, means=torch.zeros(3)),
        lambda path: changed(path, log_weights=torch.zeros(2)),
        lambda path: changed(path, factors=torch.zeros(3, 36)),
        lambda path: changed(path, means=torch.full((3, 8), torch.nan)),
    ],
)
def test_what_is_no_coarse_prior_is_refused(tmp_path, damage):
    save_coarse(CoarsePrior(random_mixture(3, 8)), tmp_path)
    assert load_coarse(tmp_path)[0].side == 2
    damage(tmp_path / COARSE)
    refused(lambda: load_coarse(tmp_path), "cannot be read as a coarse prior", error=CheckpointError)
