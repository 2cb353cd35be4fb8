"""What a result leaves behind: size of the image, reference and scores, the order of writing."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mri_iahvae.errors import IahvaeError
from mri_iahvae.evaluation.metrics import score
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.pipeline import pictures
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.output import PLAIN, volume_output
from mri_iahvae.pipeline.target import find_target
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import OWN_SAMPLING


@pytest.fixture
def write(loaded, tmp_path):
    """Reconstructs a scan from 16x16 and writes the result, slice by slice; gives the result and the report."""

    def run(path, *, samples=0, keep_samples=False, outputs=PLAIN, side=16, **details):
        scan = open_scan(path)
        settings = InferenceSettings("amortized", samples=samples)
        geometry = scan_geometry(scan, image=outputs.image_size)
        sampled = OWN_SAMPLING.apply(scan).within(geometry, side)
        batches = Batches(4)

        def reconstructed(chosen, first=0):
            return reconstruct_volume(
                loaded.model,
                geometry.reduce(scan.read(chosen)),
                sampled.mask,
                settings,
                acquired=scan.acquired,
                keep_samples=keep_samples,
                batch=batches,
                first=first,
            )

        target = find_target(scan, geometry, sampled)
        with volume_output(tmp_path / "out" / path.name, scan, geometry, sampled, target, outputs) as out:
            for number in range(scan.slices):
                out.add(reconstructed(number, number), number, {})
            report = out.finish(loaded, settings, batches, {"task": "reconstruct", **details})
        return reconstructed(slice(None)), report

    return run


def centre(image, rows, columns):
    top, left = (image.shape[-2] - rows) // 2, (image.shape[-1] - columns) // 2
    return image[..., top : top + rows, left : left + columns]


def test_everything_that_reproduces_the_run_is_stored(make_scan, write, loaded):
    result, report = write(make_scan(reference=True), task="reconstruct", up_to="16x16", left_out=None)
    with h5py.File(report["output"]) as file:
        stored = dict(file.attrs)
        assert file["reconstruction"].dtype == np.float32
        assert file["image"].dtype == np.complex64
        np.testing.assert_allclose(file["image"], result.image, rtol=1e-4, atol=1e-11)
        np.testing.assert_allclose(file["reconstruction"], np.abs(result.image), rtol=1e-4, atol=1e-11)
        np.testing.assert_array_equal(file["canonical_factor"], result.factors)
    record = {"task": "reconstruct", "up_to": "16x16", "model_sha256": loaded.sha256, "grid": 32}
    record |= {f"fraction_{k}": v for k, v in result.fractions.items()}
    options = result.settings.in_effect()
    assert (record | options).items() <= report.items()
    # An attribute cannot be null: what the method ignores is left out of the file.
    assert (record | {k: v for k, v in options.items() if v is not None}).items() <= stored.items()
    assert "temperature" not in stored
    assert {"version", "python", "numpy", "torch", "deterministic", "seed", "created", "model"} <= set(stored)
    assert report == json.loads(Path(report["report"]).read_text())


@pytest.mark.parametrize("kept", [True, False])
def test_samples_and_their_deviation_are_stored_in_the_size_of_the_image(make_scan, write, kept):
    path = make_scan(reference=np.ones((2, 20, 24), np.float32))
    result, report = write(path, samples=3, keep_samples=kept)
    with h5py.File(report["output"]) as file:
        np.testing.assert_allclose(
            file["reconstruction_std"], centre(result.std, 20, 24), rtol=1e-3, atol=1e-10
        )
        assert file["reconstruction_std"].dtype == np.float32
        assert ("samples" in file) == kept
        if kept:
            np.testing.assert_allclose(file["samples"], centre(result.samples, 20, 24), rtol=1e-3, atol=1e-10)
            assert file["samples"].shape == (2, 3, 20, 24)
        assert file.attrs["samples"] == report["samples"] == 3


def test_scores_compare_magnitudes_with_the_reference(make_scan, write):
    path = make_scan(reference=True)
    result, report = write(path)
    reference = open_scan(path).read_reference(slice(None))
    zero_filled = ifft2c(torch.from_numpy(result.zero_filled)).abs().numpy()
    for name, image in (("zero-filled", zero_filled), ("reconstruction", result.magnitude)):
        assert report["scores"][name] == pytest.approx(score(reference, image).to_dict())


@pytest.mark.parametrize(
    "scan", [{"mask": np.arange(32) > 3}, {"reference": np.zeros((2, 32, 32), np.float32)}]
)
def test_without_a_reference_there_are_no_scores(make_scan, write, scan):
    _, report = write(make_scan(**scan))
    assert report["scores"] == {}
    assert "scored_against" not in report


@pytest.mark.parametrize("size", [(20, 20), (32, 20), (21, 32), (7, 8)])
def test_the_image_is_cropped_to_the_reference(make_scan, write, size):
    path = make_scan()
    clean = ifft2c(torch.from_numpy(open_scan(path).read(slice(None)))).abs().numpy()
    result, report = write(make_scan(reference=centre(clean, *size)))
    with h5py.File(report["output"]) as file:
        assert file["reconstruction"].shape == file["image"].shape == (2, *size)
        np.testing.assert_allclose(file["image"], centre(result.image, *size), rtol=1e-4, atol=1e-11)
    expected = score(centre(clean, *size), centre(result.magnitude, *size)).nmse
    assert report["scores"]["reconstruction"]["nmse"] == pytest.approx(expected)


def test_with_the_field_as_image_size_the_fft_is_the_completed_k_space(native, write):
    """Readout oversampling is removed either way; only the crop of the other axis is left out."""
    path = native("640x368", slices=1)
    _, cropped = write(path)
    field = tuple(cropped["field"])
    result, whole = write(path, outputs=replace(PLAIN, image_size=field))
    with h5py.File(whole["output"]) as file:
        image, mask = file["image"][()], file["mask"][()]
        assert tuple(file.attrs["field"]) == field == image.shape[1:] == (320, 368)
    kspace = fft2c(torch.from_numpy(image)).numpy()
    peak = np.abs(kspace).max()
    np.testing.assert_allclose(kspace, result.kspace, atol=1e-6 * peak)
    scan = open_scan(path)
    reduced = scan_geometry(scan).reduce(scan.read(slice(None)))
    # The mask has single bins, after up to 16 x 16.
    np.testing.assert_allclose(kspace[:, mask], reduced[:, mask], atol=1e-6 * peak)
    box = np.zeros(field, bool)
    box[160 - 16 : 160 + 16, 184 - 16 : 184 + 16] = True  # the grid of the checkpoint
    assert np.abs(kspace[:, ~box]).max() < 1e-6 * peak
    assert (np.abs(kspace[:, box & ~mask]) > 0).all()


@pytest.mark.parametrize("side", [6, 33])
def test_a_reference_that_cannot_be_compared_is_said(make_scan, write, side):
    result, report = write(make_scan(reference=np.ones((2, side, 20), np.float32)))
    assert report["scores"] == {}
    assert [f"the reference is {side}x20" in warning for warning in report["warnings"]] == [True]
    with h5py.File(report["output"]) as file:
        assert file["image"].shape == result.image.shape


def test_no_result_without_its_figure(make_scan, write, tmp_path):
    """The HDF5 file is written last: where it is, everything is."""
    (tmp_path / "out" / "scan_kspace.png").mkdir(parents=True)
    with pytest.raises(IahvaeError, match=r"scan_kspace\.png: cannot be written"):
        write(make_scan())
    assert [path.name for path in tmp_path.glob("out/*")] == ["scan_kspace.png"]


@pytest.mark.parametrize("name", ["cost $1 and $2_.h5", r"$\frac$.h5", "头.h5", "Kopf_é.h5"])
def test_any_file_name_can_be_a_title(make_scan, write, name):
    _, report = write(make_scan(name))
    assert report["output"].endswith(name)


def test_warnings_of_scan_and_result_are_in_the_report(make_scan, write):
    path = make_scan(mask=np.zeros(32, bool))
    _, report = write(path, noise_sigma=0.0, noise_source="estimate")
    assert report["true_acceleration"] is None
    words = ("no k-space bin is measured", "slices 0, 1", "too little is measured to estimate the noise")
    assert all(word in warning for word, warning in zip(words, report["warnings"], strict=True))
    details = {"noise_sigma": 0.1, "noise_source": "estimate"}
    assert write(make_scan(), **details)[1]["warnings"] == []


@pytest.mark.parametrize(
    ("mask", "drawn"),
    [
        (np.ones(32, bool), True),
        (np.arange(32) > 3, False),
    ],  # an undersampled scan holds no more than was used
)
def test_what_the_run_left_out_is_drawn_beside_the_reference(make_scan, write, monkeypatch, mask, drawn):
    views = []
    monkeypatch.setattr(pictures, "kspace_figure", lambda _path, given, **_: views.extend(given))
    path = make_scan(reference=True, mask=mask)
    result, _ = write(path, samples=2)
    (view,) = views
    assert view.number == 1
    np.testing.assert_array_equal(view.measured, result.zero_filled[1])
    np.testing.assert_allclose(view.deviation, result.std[1], rtol=1e-3, atol=1e-10)
    if drawn:
        np.testing.assert_array_equal(view.reference_kspace, open_scan(path).read(1)[0])
    else:
        assert view.reference_kspace is None
