"""Latent traversals: what a latent may change, and the figure."""

import json
import math
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.neighbours import traversals
from benchmarks.neighbours.common import networks
from mri_iahvae.inference.joint import decode, encode
from mri_iahvae.kspace.bands import scales
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.results.hdf5 import write_scan


@pytest.fixture
def model():
    """With weights that are random everywhere."""
    torch.manual_seed(0)
    model = IAHVAE(replace(networks(16), gains=(4.0, 3.0, 2.0, 1.0, 0.5)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def kspace():
    return torch.randn(1, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def test_a_latent_changes_its_own_band_and_finer_ones(model, kspace):
    for index in range(5):
        moved = traversals.traverse(model, kspace, index)
        with torch.no_grad():
            unmoved = decode(model, encode(model, kspace)[0])
        torch.testing.assert_close(moved[len(traversals.MOVES) // 2], unmoved[0])
        fractions = traversals.spread(moved)
        assert sum(fractions) == pytest.approx(1)
        assert fractions[index] > 0
        assert fractions[:index] == pytest.approx([0] * index, abs=1e-9)


def test_the_command(model, tmp_path):
    save_model(model, tmp_path / "model", {})
    images = torch.randn(2, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).numpy()
    write_scan(tmp_path / "scan.h5", images)
    arguments = ["scan.h5", "figure.png", "--slice", "1", "--json", "found.json", "--checkpoint", "model"]
    arguments = [a if a.startswith("-") or a == "1" else str(tmp_path / a) for a in arguments]
    result = CliRunner().invoke(traversals.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    with Image.open(tmp_path / "figure.png") as image:
        assert image.mode == "P"
    found = json.loads((tmp_path / "found.json").read_text())["spread"]
    assert list(found) == [str(side) for side in scales(16)]
    assert math.isclose(found["16"][-1], 1.0)
