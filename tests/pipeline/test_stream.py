"""A scan from file to file in groups of slices: nothing depends on the grouping, and coils go their own way."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.pipeline.output import Outputs
from mri_iahvae.pipeline.stream import Request, run_file
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import Sampling
from mri_iahvae.tasks.reconstruct import reconstruct

SETTINGS = InferenceSettings("amortized")


@pytest.fixture
def run(loaded, tmp_path):
    """Runs a file in groups of some slices; gives report and datasets."""
    done = []

    def make(path, request=None, settings=SETTINGS, name="out"):
        done.clear()
        target = tmp_path / name / path.name
        report = run_file(loaded, path, target, request or Request(), settings, lambda *_: done.append)
        assert sum(done) == report["slices"]
        with h5py.File(target) as file:
            return report, {key: values[()] for key, values in file.items()}

    return make


@pytest.mark.parametrize("settings", [SETTINGS, InferenceSettings(steps=2, samples=2, seed=3)])
def test_groups_make_no_difference(run, make_scan, settings):
    path = make_scan(slices=5, reference=True, noise=0.01)
    with h5py.File(path, "r+") as file:
        file["kspace"][3] = 0
    request = Request("reconstruct", Sampling(acceleration=2), up_to=16)
    whole, expected = run(path, request, settings, "whole")
    for batch in (1, 2):
        report, found = run(path, replace(request, batch=batch), settings, f"by{batch}")
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=1e-5 * np.abs(values).max())
        assert report["scores"]["reconstruction"] == pytest.approx(
            whole["scores"]["reconstruction"], rel=1e-3
        )
        assert report["scores"]["zero-filled"] == pytest.approx(whole["scores"]["zero-filled"], rel=1e-5)
        assert report["fraction_measured"] == pytest.approx(whole["fraction_measured"])
        assert report["warnings"] == whole["warnings"]
        assert any("no signal" in line and line.endswith("slice 3: left zero") for line in report["warnings"])


@pytest.mark.parametrize("source", ["estimate", "relative", "file", "option"])
def test_the_noise_level_does_not_depend_on_groups(run, make_scan, source):
    levels = {} if source != "file" else {"noise_sigma": np.linspace(1e-7, 5e-7, 5)}
    path = make_scan(slices=5, size=64, noise=0.05, **levels)
    given = {"relative": {"relative_sigma": 0.2}, "option": {"sigma": 3e-7}}.get(source, {})
    request = Request("denoise", **given)
    whole, expected = run(path, request, name="whole")
    single, found = run(path, replace(request, batch=1), name="single")
    assert whole["noise_source"] == single["noise_source"] == source
    assert single["noise_sigma"] == pytest.approx(whole["noise_sigma"], rel=1e-6)
    np.testing.assert_allclose(
        found["image"], expected["image"], rtol=2e-3, atol=1e-5 * np.abs(expected["image"]).max()
    )


def test_a_damaged_slice_late_in_the_volume_leaves_nothing(run, make_scan, tmp_path):
    path = make_scan(slices=5)
    with h5py.File(path, "r+") as file:
        file["kspace"][4, 3, 3] = np.nan
    with pytest.raises(ScanError, match="slice 4"):
        run(path, Request("reconstruct", batch=2))
    assert list((tmp_path / "out").iterdir()) == []


def test_slices_to_show_are_checked_before_anything_is_computed(run, make_scan, tmp_path):
    with pytest.raises(UsageError, match=r"--slices 5: .*scan.h5 has slices 0 to 1"):
        run(make_scan(), Request("reconstruct", outputs=Outputs(slices=(0, 5))))
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def coil_scan(make_scan, coil_maps):
    """Four coils that see the slices of a scan; with the root of the sum of their squares."""
    path = make_scan("coils.h5")
    with h5py.File(path, "r+") as file:
        images = ifft2c(torch.from_numpy(file["kspace"][()])).numpy()
        del file["kspace"]
        file["kspace"] = fft2c(torch.from_numpy(images[:, None] * coil_maps(4, 32, 32))).numpy()
        file["reconstruction_rss"] = np.abs(images)
    return path


def test_coils_are_combined(run, coil_scan):
    report, found = run(coil_scan)
    assert (report["coils"], report["coil_combine"]) == (4, "rss")
    with h5py.File(coil_scan) as file:
        rss = file["reconstruction_rss"][()]
    np.testing.assert_allclose(found["reconstruction"], rss, atol=1e-5 * rss.max())  # everything is measured
    assert report["scores"]["reconstruction"]["nmse"] < 1e-9
    undersampled, _ = run(coil_scan, Request("reconstruct", Sampling(acceleration=2, center_fraction=0.4)))
    assert undersampled["scores"]["reconstruction"]["nmse"] < undersampled["scores"]["zero-filled"]["nmse"]
    weighted, other = run(coil_scan, Request("reconstruct", coil_combine="sensitivity"))
    assert weighted["coil_combine"] == "sensitivity"
    assert np.abs(other["reconstruction"] - found["reconstruction"]).max() > 0


def test_what_coils_do_not_allow_is_refused(run, coil_scan, make_scan):
    with pytest.raises(UsageError, match=r"--samples: .*coils\.h5 holds 4 coils"):
        run(coil_scan, settings=InferenceSettings(samples=2))
    with pytest.raises(UsageError, match=r"--data-consistency none: .*coils\.h5 holds 4 coils"):
        run(coil_scan, settings=InferenceSettings(data_consistency="none"))
    with pytest.raises(UsageError, match=r"--coil-combine rss: .*scan\.h5 holds a single coil"):
        run(make_scan(), Request("reconstruct", coil_combine="rss"))


def test_file_and_array_agree(run, make_scan, checkpoint):
    path = make_scan(slices=3, mask=np.arange(32) % 3 > 0)
    report, found = run(path, Request(batch=2, up_to=16), InferenceSettings(steps=2))
    scan = open_scan(path)
    options = {"steps": 2, "batch": 2, "up_to": "16", "checkpoint": checkpoint, "device": "cpu"}
    result = reconstruct(scan.read(slice(None)), scan.mask, **options)
    assert report["fraction_measured"] == result.fractions["measured"]
    np.testing.assert_array_equal(found["image"], result.image)
