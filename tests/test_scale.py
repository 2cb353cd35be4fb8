"""Units are a convention: a scan in others gives the same result in those, through the files and the command line."""

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.kspace.fft import fft2c, ifft2c

# 1e-17: fastMRI's units, about 1e-5, times 1e-12. Squares of 1e-17 times a noise of 1 % leave float32's range.
UNITS = (1e-17, 1e12)

CASES = {
    "hybrid": ["reconstruct", "--up-to", "8x8"],
    "columns": ["reconstruct", "--acceleration", "3"],
    "auto": ["reconstruct", "--acceleration", "3", "--steps", "auto"],
    "iterative": ["reconstruct", "--up-to", "8x8", "--method", "iterative"],
    "paper": ["reconstruct", "--up-to", "8x8", "--method", "paper"],
    "soft": ["reconstruct", "--acceleration", "3", "--data-consistency", "soft"],
    "samples": ["reconstruct", "--up-to", "8x8", "--samples", "2"],
    "best": ["reconstruct", "--up-to", "8x8", "--quality", "best"],
    "estimate": ["denoise"],
    "relative": ["denoise", "--relative-sigma", "0.2"],
}


@pytest.fixture
def results(make_scan, checkpoint, tmp_path, no_figures):
    """Runs a command on one scan in several units: by unit, the report and all datasets, divided by the unit."""

    def run(command, *options, change=lambda _: None, **scan):
        found = {}
        for unit in (1.0, *UNITS):
            path = tmp_path / f"{unit:g}" / "scan.h5"  # the name is the seed of the columns
            path.parent.mkdir()
            make_scan(path.relative_to(tmp_path), scale=unit, noise=0.01, reference=True, **scan)
            with h5py.File(path, "r+") as file:
                change(file)
            out = path.parent / "out"
            common = ["--checkpoint", str(checkpoint), "--device", "cpu", "-q", "--json", "-o", str(out)]
            result = CliRunner().invoke(main, [command, str(path), *common, *options], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            with h5py.File(out / path.name) as file:
                data = {name: file[name][()].astype(np.complex128) for name in file}
            for name in set(data) - {"mask"}:
                data[name] = data[name] / unit
            found[unit] = json.loads(result.stdout)["files"][0], data
        return found

    return run


def same(found):
    report, expected = found[1.0]
    for unit in UNITS:
        other, data = found[unit]
        assert set(data) == set(expected)
        for name, values in expected.items():
            assert np.abs(values).max() > 0
            error = np.linalg.norm(data[name] - values) / np.linalg.norm(values)
            assert error < 5e-4, (unit, name, error)
        for row, scores in report["scores"].items():
            assert other["scores"][row] == pytest.approx(scores, rel=1e-2), (unit, row)
        assert len(other["warnings"]) == len(report["warnings"])


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_one_coil(results, options):
    same(results(*options))


@pytest.mark.parametrize("combine", ["rss", "sensitivity"])
def test_coils(results, coil_maps, combine):
    def split(file):
        kspace = torch.from_numpy(file["kspace"][()])
        maps = torch.from_numpy(coil_maps(4, 32, 32))
        coils = fft2c(maps * ifft2c(kspace)[:, None]).numpy()
        rng = np.random.default_rng(0)
        noise = (
            np.abs(coils).max() * 1e-3 * (rng.normal(size=coils.shape) + 1j * rng.normal(size=coils.shape))
        )
        images = file["reconstruction_esc"][()]
        for name in ("kspace", "reconstruction_esc"):
            del file[name]
        file["kspace"] = (coils + noise).astype(np.complex64)
        file["reconstruction_rss"] = images

    same(
        results(
            "reconstruct", "--acceleration", "2", "--center-fraction", "0.3", "--coil-combine", combine,
            change=split,
        )
    )  # fmt: skip
