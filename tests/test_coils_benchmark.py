"""`benchmarks/coils.py`: weights are tuned, then every method is scored on the same simulated coils."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    pytest.importorskip("sigpy")
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def run(monkeypatch):
    """Runs the command on one mask that suits 32 columns."""
    import coils  # noqa: PLC0415

    from mri_iahvae.kspace.masks import ColumnSampling  # noqa: PLC0415

    monkeypatch.setattr(coils, "MASKS", (ColumnSampling(2, 0.25, "random"),))
    monkeypatch.setattr(coils, "WAVELET_WEIGHTS", (0.01, 0.1))
    monkeypatch.setattr(coils, "SENSE_WEIGHTS", (0.01, 1.0))
    return lambda *arguments: CliRunner().invoke(coils.main, [str(a) for a in arguments])


def test_tuned_then_reported(run, make_scan, checkpoint, tmp_path):
    data, output = make_scan(reference=True).parent, tmp_path / "coils.json"
    early = run(data, "--json", output, "--checkpoint", checkpoint)
    assert early.exit_code == 1
    assert "run with --tune first" in early.output
    assert run(data, "--tune", "--json", output).exit_code == 0
    result = run(data, "--json", output, "--checkpoint", checkpoint)
    assert result.exit_code == 0, result.output
    record = json.loads(output.read_text())
    (weights,), (rows,) = record["weights"].values(), record["rows"].values()
    assert weights["SENSE"] == 0.01  # a weight of 1 halves the image
    assert record["slices"] == 2
    assert len(rows) == 6
    assert rows["SENSE"]["nmse"] < rows["zero-filled RSS"]["nmse"]
    assert rows["ours, RSS"]["nmse"] < rows["zero-filled RSS"]["nmse"]
