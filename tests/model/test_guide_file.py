"""The guide's file: round trip, half precision, and files that are none."""

import pytest
import torch
from safetensors.torch import save_file

from mri_iahvae.errors import CheckpointError
from mri_iahvae.model.checkpoint_config import GUIDE
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_file import load_guide, save_guide
from tests.refusals import refused

CONFIG = GuideConfig(steps=1, widths=(4, 8), blocks=1)


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path, half):
    guide = Guide(CONFIG)
    guide.error.calibration.fill_(1.5)
    save_guide(guide, tmp_path, {"steps": 3}, half=half)
    found, digest = load_guide(tmp_path)
    assert found.config == CONFIG
    assert len(digest) == 64
    assert not found.training
    for name, weight in guide.state_dict().items():
        stored = weight.half().float() if half else weight
        assert torch.equal(found.state_dict()[name], stored), name


def test_a_checkpoint_without_one(tmp_path):
    assert load_guide(tmp_path) is None


def with_weights(path, config, factor=1.0):
    """Other weights than those of the configuration."""
    weights = {name: factor * weight for name, weight in Guide(config).state_dict().items()}
    save_file(weights, path, {"guide": '{"config": {"steps": 1, "widths": [4, 8], "blocks": 1, "fold": 2}}'})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1"),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: save_file({"a": torch.zeros(1)}, path),
        lambda path: save_file({"a": torch.zeros(1)}, path, {"guide": "[]"}),
        lambda path: save_file({"a": torch.zeros(1)}, path, {"guide": '{"config": {"widths": 3}}'}),
        lambda path: with_weights(path, GuideConfig(1, (4, 4), 1)),
        lambda path: with_weights(path, CONFIG, torch.nan),
    ],
)
def test_what_is_no_guide_is_refused(tmp_path, damage):
    save_guide(Guide(CONFIG), tmp_path, {})
    damage(tmp_path / GUIDE)
    refused(lambda: load_guide(tmp_path), "cannot be read as a guide", error=CheckpointError)
