"""`benchmarks/comparators.py`: models side by side, on crops of the data, with the record of their training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.training.statistics import canonical_batch, measure

STAGES = [{"size": 16, "steps": 30, "batch": 4}]


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


@pytest.fixture
def make_run(head_kspace, tmp_path):
    """Makes a run folder as `train` leaves it: a model with seeded weights, and a log."""

    def make(name, grid=16, **choices):
        torch.manual_seed(0)
        model = IAHVAE(preset("tiny", grid=grid, **choices))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        kspace = canonical_batch(torch.from_numpy(head_kspace(4, 32)), grid)
        model.set_config(measure(kspace, replace(model.config, sigma=0.1)))
        save_model(model, tmp_path / name / "model", {"settings": {"stages": STAGES}, "finished": True})
        rates = [(10, 4.0), (20, 8.0), (15, 2.0), (20, 2.0), (30, 40.0)]  # interrupted after 20, back to 10
        log = [
            {"kind": "step", "stage": 0, "grid": 16, "step": step, "slices_per_second": rate}
            for step, rate in rates
        ]
        lines = [json.dumps(entry) for entry in [*log[:2], {"kind": "validation", "stage": 0}, *log[2:]]]
        (tmp_path / name / "log.jsonl").write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return make


def invoke(*args):
    from comparators import main  # noqa: PLC0415

    return CliRunner().invoke(main, [*map(str, args)], catch_exceptions=False)


def test_models_side_by_side(make_run, make_scan, tmp_path, head_kspace, monkeypatch):
    import comparators  # noqa: PLC0415

    methods = {"amortized": InferenceSettings("amortized"), "hybrid N=3": InferenceSettings("hybrid", 3)}
    monkeypatch.setattr(comparators, "METHODS", methods)
    runs = [make_run("ours"), make_run("ordinary", encoder="bottom-up", decoder="ordinary")]
    (tmp_path / "data").mkdir()
    make_scan("data/a.h5", slices=3, size=32, reference=True)
    result = invoke(*runs, tmp_path / "data", "--json", tmp_path / "out.json", "--slices", 2)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["grid"], found["slices"]) == (16, 2)
    assert list(found["models"]) == ["ours", "ordinary"]
    names = ["everything measured", "up to 8x8", "random columns 4x / 0.08", "denoise 1.0"]
    for name, row in found["models"].items():
        assert row["decoder"] == ("ordinary" if name == "ordinary" else "separable")
        assert row["training_slices"] == 120
        assert row["training_seconds"] == pytest.approx(40 / 4 + 40 / 8 + 40 / 40)
        assert list(row["tasks"]) == names
        assert all(list(rows) == list(methods) for rows in row["tasks"].values())
    assert found["models"]["ours"]["parameters"] > found["models"]["ordinary"]["parameters"]

    # The baseline of a block, written out with NumPy: the cropped slice against its central 8 x 8 bins.
    kspace = head_kspace(3, 32)[:2, 8:24, 8:24].astype(np.complex128)
    block = np.zeros_like(kspace)
    block[:, 4:12, 4:12] = kspace[:, 4:12, 4:12]
    whole, zero_filled = (np.abs(np.fft.ifft2(np.fft.ifftshift(k, axes=(1, 2)))) for k in (kspace, block))
    nmse = ((whole - zero_filled) ** 2).sum(axis=(1, 2)) / (whole**2).sum(axis=(1, 2))
    assert found["baseline"]["up to 8x8"] == pytest.approx(nmse.mean(), rel=1e-4)
    ordinary = found["models"]["ordinary"]
    row = f"| elbo loss at sigma 0.1 |  | {found['models']['ours']['elbo_loss']:.4f} | {ordinary['elbo_loss']:.4f} |"
    assert row in result.stdout
    assert f"{ordinary['tasks']['up to 8x8']['hybrid N=3']['nmse']:.4f} |\n" in result.stdout


def test_what_cannot_be_compared(make_run, make_scan, tmp_path):
    (tmp_path / "data").mkdir()
    other = invoke(make_run("fine", grid=32), make_run("coarse"), tmp_path / "data")
    assert other.exit_code == 2
    assert "one grid" in other.output
    empty = invoke(make_run("alone"), tmp_path / "data")
    assert empty.exit_code == 2
    assert "no .h5 files" in empty.output
