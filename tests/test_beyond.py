"""`benchmarks/beyond.py`: what is left is measured where it should be, and white noise is told as such."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mri_iahvae.kspace.bands import block_mask


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.parametrize("size", [32, 31])
def test_white_noise_may_all_be_noise_and_a_smooth_object_none(size):
    from beyond import noise_share  # noqa: PLC0415

    noise = torch.randn(2000, size, size, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    offset = torch.arange(size) - size // 2
    smooth = torch.exp(-(offset[:, None] ** 2 + offset**2) / 8.0).to(torch.complex64)[None]
    beyond = ~block_mask(8, size)
    assert noise_share(noise, beyond) == pytest.approx(1, abs=0.02)
    assert noise_share(smooth, beyond) < 1e-6
    mixed = noise + 9 * smooth
    share = noise[:, beyond].abs().square().sum() / mixed[:, beyond].abs().square().sum()
    assert noise_share(mixed, beyond) == pytest.approx(float(share), rel=0.03)


def test_left_counts_the_chosen_bins_only():
    from beyond import left  # noqa: PLC0415

    truth = torch.ones(2, 8, 8, dtype=torch.complex64)
    ring = ~block_mask(4, 8)
    assert left(torch.where(ring, 0, truth), truth, ring) == 1
    assert left(torch.where(ring, truth, 0), truth, ring) == 0
    assert left(torch.where(ring, 0.5j * truth, 9), truth, ring) == pytest.approx(1.25)


def test_table(make_scan, checkpoint, tmp_path):
    """A row per file; of an untrained model nothing is known but that the numbers are some."""
    from beyond import main  # noqa: PLC0415

    make_scan("one.h5", slices=3)
    make_scan("two.h5", slices=1)
    options = ["--checkpoint", str(checkpoint), "--up-to", "8", "--slices", "2"]
    result = CliRunner().invoke(main, [str(tmp_path), *options], catch_exceptions=False)
    heading, *rows = result.output.splitlines()
    assert [row.split()[0] for row in rows] == ["one", "two"]
    for row in rows:
        parts = [float(part) for part in row.split()[1:]]
        assert len(parts) == len(heading.split()) - 1
        assert min(parts) >= 0
        assert parts[1] < 1
    refused = CliRunner().invoke(main, [str(tmp_path), "--checkpoint", str(checkpoint), "--up-to", "32"])
    assert refused.exit_code == 2
    assert "choose less" in refused.output
