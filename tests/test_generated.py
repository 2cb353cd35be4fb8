"""`benchmarks/quality/generated`: its files hold the phantom that it scores against, and it says what is missing."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.quality import generated
from benchmarks.quality.generated import Shell, Variant, from_bart, from_ismrmrd, write_cfl, zero_filled
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import Reading, open_scan
from tests.commands import run


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


def test_missing_programs_are_one_line(monkeypatch):
    monkeypatch.setattr(generated.shutil, "which", lambda _: None)
    result = run(generated.main, code=1)
    assert result.output.count("\n") == 1
    assert "install bart and ismrmrd-tools" in result.output


def test_pairs_of_files_are_bart_s(tmp_path, rng):
    values = rng.normal(size=(8, 6, 1, 3)) + 1j * rng.normal(size=(8, 6, 1, 3))
    write_cfl(tmp_path / "scan", values)
    read = open_scan(tmp_path / "scan").read_coils(0)[0]
    np.testing.assert_array_equal(read, values[:, :, 0].transpose(2, 0, 1).astype(np.complex64))


def check(shell, made, coils, measured, **select):
    """The target is the image of the scan, by our reader and by BART."""
    path, target = made
    scan = open_scan(path, Reading(select=select))
    assert (scan.slices, scan.coils) == (1, coils)
    assert scan.mask.mean() == pytest.approx(measured, abs=0.01)
    image = scan_geometry(scan).image_of(scan.read_coils(0)[0])
    np.testing.assert_allclose(zero_filled(shell), image, atol=1e-3 * target.max())
    return np.linalg.norm(image - target) / np.linalg.norm(target)


@needs("bart")
@pytest.mark.parametrize(
    ("variant", "measured", "least", "most"),
    [
        (Variant("bart", 1, 0.0), 1.0, 0, 1e-5),
        (Variant("bart", 4, 0.1), 1.0, 0.05, 0.15),
        (Variant("bart", 2, 0.0, "lines", 4), 0.39, 0.1, 0.5),
    ],
)
def test_bart_s_files_hold_the_phantom(tmp_path, variant, measured, least, most):
    shell = Shell(tmp_path)
    assert least <= check(shell, from_bart(shell, variant), variant.coils, measured) <= most


@needs("bart")
@needs(generated.GENERATOR)
@pytest.mark.skipif(find_spec("ismrmrd") is None, reason="needs the extra ismrmrd")
@pytest.mark.parametrize(
    ("variant", "measured", "most"),
    [
        (Variant("ismrmrd", 1, 0.0, oversampling=2), 1.0, 1e-5),
        (Variant("ismrmrd", 2, 0.0, "lines", 4, 2), 0.39, 0.5),
    ],
)
def test_ismrmrd_s_files_hold_the_phantom(tmp_path, variant, measured, most):
    shell = Shell(tmp_path)
    assert check(shell, from_ismrmrd(shell, variant), variant.coils, measured, repetition=0) <= most
