"""`benchmarks/quality`: tasks and rivals are what they claim to be, commands run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality import (
    calibration,
    coils,
    comparators,
    compare,
    hard,
    native,
    noise,
    out_of_distribution,
    table1,
    unet,
)
from benchmarks.quality.classical import CLASSICAL
from benchmarks.shared.native_files import LAYOUTS
from benchmarks.shared.tasks import TASKS, measurements, variable_density
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import DrawnMask
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.tasks.simulate import write_example
from tests.commands import run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(make_scan):
    """A folder with two fully sampled scans of three slices, 32 x 32, and their references."""
    for name in ("a.h5", "b.h5"):
        path = make_scan(f"data/{name}", slices=3, reference=True, noise=0.002)
    return path.parent


@pytest.fixture
def measure(folder):
    """Makes the measurements of the task of a name."""
    return lambda name: measurements(folder, next(task for task in TASKS if task.name == name))


def error(measurement, image):
    """Mean NMSE."""
    return np.mean([scores.nmse for scores in measurement.scored(image)])


def untreated(measurement):
    return ifft2c(torch.from_numpy(measurement.kspace)).numpy()


@pytest.mark.parametrize(
    ("name", "fraction"), [("up to 8x8", 64 / 1024), ("random columns 4x / 0.08", 0.25), ("denoise 1.0", 1)]
)
def test_a_task_measures_its_fraction_and_leaves_nothing_elsewhere(measure, name, fraction):
    for one in measure(name):
        assert one.mask.mean() == pytest.approx(fraction, abs=0.13 if "random" in name else 0)
        assert not one.kspace[:, ~one.mask].any()
        if one.task.noise:
            rms = np.sqrt(np.mean(np.abs(one.full) ** 2, axis=(1, 2)))
            np.testing.assert_allclose(one.sigma, rms, rtol=1e-5)
            added = (one.kspace - one.full) / one.sigma[:, None, None]
            assert added.real.std() == pytest.approx(1, abs=0.05)
            assert added.imag.std() == pytest.approx(1, abs=0.05)
        else:
            np.testing.assert_array_equal(one.kspace[:, one.mask], one.full[:, one.mask])


def test_the_variable_density_mask_has_its_acceleration_and_centre():
    mask = variable_density(128, 6.0, "scan.h5")
    assert mask.mean() == pytest.approx(1 / 6, abs=0.01)
    assert mask[58:70, 58:70].all()
    np.testing.assert_array_equal(mask, variable_density(128, 6.0, "scan.h5"))
    assert (mask != variable_density(128, 6.0, "other.h5")).any()


def test_measured_bins_are_put_back_where_the_task_holds_them(measure):
    wrong = np.ones((3, 32, 32), np.complex64)
    for one in measure("up to 8x8"):
        bins = fft2c(torch.from_numpy(one.consistent(wrong))).numpy()
        peak = np.abs(one.kspace).max()
        np.testing.assert_allclose(bins[:, one.mask], one.kspace[:, one.mask], atol=1e-5 * peak)
        np.testing.assert_allclose(bins[:, ~one.mask], 0, atol=1e-5 * peak)  # a constant image has DC alone


@pytest.mark.parametrize("name", ["total variation", "L1-wavelet"])
def test_compressed_sensing_beats_zero_filling(name, measure, head_kspace):
    pytest.importorskip("sigpy")
    one = measure("2-D variable density 6x")[0].part(slice(1))
    assert error(one, CLASSICAL[name].reconstruct(one, 0.01)) < 0.9 * error(one, untreated(one))
    kspace = head_kspace(1, 32)[0]
    image = CLASSICAL[name].run(kspace[None], np.ones((32, 32), bool), None, 1e-3)
    whole = ifft2c(torch.from_numpy(kspace))
    np.testing.assert_allclose(image, whole, atol=0.02 * float(whole.abs().max()))


@pytest.mark.parametrize(("name", "package"), [("wavelet shrinkage", "pywt"), ("BM3D", "bm3d")])
def test_denoisers_beat_the_noise_whatever_its_units(name, package, measure):
    pytest.importorskip(package)
    one = measure("denoise 0.2")[0].part(slice(1))
    image = CLASSICAL[name].reconstruct(one, None)
    assert error(one, image) < 0.6 * error(one, untreated(one))
    louder = replace(one, kspace=1e6 * one.kspace, sigma=1e6 * one.sigma)
    scaled = CLASSICAL[name].reconstruct(louder, None)
    np.testing.assert_allclose(scaled, 1e6 * image, atol=1e4 * np.abs(image).max())


def test_compare_resumes(tmp_path, folder, checkpoint, monkeypatch):
    monkeypatch.delitem(CLASSICAL, "total variation")  # slow
    rows = tmp_path / "rows" / "quality.json"
    arguments = [folder, "--checkpoint", checkpoint, "--json", rows, "--task", "up to 8x8", "--slices"]
    run(compare.main, *arguments, 2)
    record = json.loads(rows.read_text())
    assert record["slices"] == 4
    found = record["tasks"]["up to 8x8"]
    assert {"zero-filled", "fast", "default"} <= set(found)
    again = run(compare.main, *arguments, 2, "--task", "up to 16x16").output.splitlines()
    assert all(line.endswith("(kept)") == line.startswith("up to 8x8") for line in again if "NMSE" in line)
    assert json.loads(rows.read_text())["tasks"]["up to 8x8"] == found
    fewer = run(compare.main, *arguments, 1)
    assert "(kept)" not in fewer.output  # other slices, other rows


def test_table_1_scores_what_each_method_inferred(checkpoint, measure):
    model, _ = load_model(checkpoint)
    everything = measure("everything measured")
    amortized = table1.measure(model, InferenceSettings("amortized"), everything)
    hybrid = table1.measure(model, InferenceSettings("hybrid", 10), everything)
    printed = table1.measure(model, InferenceSettings("paper", 1), everything)
    assert hybrid["nll"] < amortized["nll"]  # refined to explain the data
    assert "negative_elbo" in amortized
    assert "negative_elbo" not in hybrid
    assert 0 < hybrid["active_units"] < 1
    assert "active_units" in printed
    generator = torch.Generator().manual_seed(0)
    bins, truth = torch.randn(2, 2, 8, 8, dtype=torch.complex64, generator=generator)
    density = torch.distributions.Normal(torch.view_as_real(bins).double(), 0.3)
    expected = -density.log_prob(torch.view_as_real(truth).double()).mean(dim=(1, 2, 3))
    torch.testing.assert_close(table1.negative_log_likelihood(bins, truth, 0.3), expected)


def test_the_unet_trains_on_a_folder_and_comes_back_from_its_file(tmp_path, folder, checkpoint, measure):
    data, weights = tmp_path / "sets", tmp_path / "unet.safetensors"
    data.mkdir()
    (data / "singlecoil_train").symlink_to(folder)
    run(unet.main, data, "-o", weights, "--minutes", 0.02, "--batch", 2, "--checkpoint", checkpoint)
    network = unet.UnetBaseline.load(weights)
    one = measure("random columns 4x / 0.08")[0]
    kspace, mask = torch.from_numpy(one.kspace), torch.from_numpy(one.mask)
    image = network.reconstruct(kspace, mask)
    assert image.shape == kspace.shape
    # Of the canonical form: the units of the scan cancel.
    torch.testing.assert_close(network.reconstruct(kspace * 1e-6, mask), image * 1e-6, rtol=1e-4, atol=1e-10)


def test_coils_are_tuned_then_reported(folder, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("sigpy")
    monkeypatch.setattr(coils, "MASKS", (DrawnMask(2, 0.25, "random"),))
    monkeypatch.setattr(coils, "WAVELET_WEIGHTS", (0.01, 0.1))
    monkeypatch.setattr(coils, "SENSE_WEIGHTS", (0.01, 1.0))
    output = tmp_path / "coils.json"
    run(coils.main, folder, "--tune", "--json", output)
    run(coils.main, folder, "--json", output, "--checkpoint", checkpoint)
    record = json.loads(output.read_text())
    (weights,), (rows,) = record["weights"].values(), record["rows"].values()
    assert weights["SENSE"] == 0.01  # a weight of 1 halves the image
    assert rows["SENSE"]["nmse"] < rows["zero-filled RSS"]["nmse"]
    assert rows["ours, RSS"]["nmse"] < rows["zero-filled RSS"]["nmse"]


def test_trained_models_are_put_side_by_side(checkpoint, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(comparators, "METHODS", {"amortized": InferenceSettings("amortized")})
    runs, output = [tmp_path / "ours", tmp_path / "other"], tmp_path / "out.json"
    for place in runs:
        shutil.copytree(checkpoint, place / "model")
    run(comparators.main, *runs, folder, "--json", output, "--slices", 2)
    found = json.loads(output.read_text())
    assert (found["grid"], found["slices"]) == (32, 4)
    assert found["models"]["ours"] == found["models"]["other"]
    assert found["models"]["ours"]["tasks"]["up to 8x8"]["amortized"]["nmse"] > 0
    refused = run(comparators.main, runs[0], runs[0], folder, "--json", output, code=2)
    assert "different names" in refused.output


def test_calibration_is_measured(folder, checkpoint, tmp_path):
    options = ("--temperature", 1.0, "--samples", 2, "--task", "up to 8x8", "--checkpoint", checkpoint)
    run(calibration.main, folder, *options, "--json", tmp_path / "out.json")
    row = json.loads((tmp_path / "out.json").read_text())["tasks"]["up to 8x8"]["1.0"]
    assert 0 <= row["within 1"] <= row["within 2"] <= row["within 3"] <= 1


def test_the_noise_estimate_is_compared_with_the_truth(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(noise, "LEVELS", (1.0,))
    run(noise.main, folder, "--json", tmp_path / "noise.json")
    rows = json.loads((tmp_path / "noise.json").read_text())["estimate_over_truth"]
    assert rows["everything measured"]["per volume"]["1"]["median"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("options", "tasks"), [((), list(native.TASKS)), (("--denoise", "--noise", 0.5), ["denoise"])]
)
def test_native_files_have_a_row_for_every_size_and_task(
    tmp_path, checkpoint, head_kspace, monkeypatch, no_figures, options, tasks
):
    chosen = ("512x320", "640x371")
    monkeypatch.setattr(native, "LAYOUTS", {size: LAYOUTS[size] for size in chosen})
    heads = ifft2c(torch.from_numpy(head_kspace(3, 256))).abs().numpy()
    np.savez(tmp_path / "heads.npz", images=heads, subject=np.array(["a", "a", "a"]))
    options = ("--checkpoint", checkpoint, "--slices", 1, *options, "--json", tmp_path / "native.json")
    run(native.main, tmp_path / "heads.npz", *options)
    rows = json.loads((tmp_path / "native.json").read_text())["results"]
    assert set(rows) == set(chosen)
    assert all(list(found) == tasks for found in rows.values())
    assert tasks != ["denoise"] or all(found["denoise"]["zero-filled nmse"] > 0.05 for found in rows.values())


def test_phase_jumps_and_noise_have_a_row_for_each_method(folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(hard, "JUMPS", (180,))
    monkeypatch.setattr(hard, "NOISE", (1.0,))
    run(hard.main, folder, "--checkpoint", checkpoint, "--json", tmp_path / "hard.json")
    cases = json.loads((tmp_path / "hard.json").read_text())["cases"]
    assert list(cases) == ["phase jumps of 180 degrees", "noise 1", "noise 1, estimated"]
    assert all(list(rows) == list(hard.METHODS) for rows in cases.values())
    assert all(row["nmse"] > 0 and row["slices"] for rows in cases.values() for row in rows.values())


def test_a_turn_of_some_pixels_leaves_magnitudes(head_kspace):
    kspace = head_kspace()
    plain, turned = (ifft2c(torch.from_numpy(k)) for k in (kspace, hard.with_jumps(kspace, np.pi)))
    torch.testing.assert_close(turned.abs(), plain.abs(), rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    assert 0.01 < float(((turned + plain).abs() < 0.1 * plain.abs()).float().mean()) < 0.9


def test_phantoms_are_distinguished_from_heads(tmp_path, monkeypatch):
    monkeypatch.setattr(out_of_distribution, "NOISES", (0.02,))
    (tmp_path / "heads").mkdir()
    write_example(tmp_path / "heads" / "scan.h5")
    run(out_of_distribution.main, tmp_path / "heads", "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    judged = {name: row["both"]["warned"] for name, row in rows.items() if "both" in row}
    assert len(judged) == 2 + 2 * 6
    assert [name for name, warned in judged.items() if not warned] == ["scan.h5"]
    assert set(rows["first slices, as they are, 4x"].values()) == {0, 1}
    assert rows["first slices, random phase, 4x"]["phase"] == 1
    assert rows["first slices, noise of 3, 4x"]["noise"] == 1


@pytest.mark.parametrize(
    "name",
    ["quality", "table1", "calibration", "coils", "native", "native_denoise", "hard", "generated"],
)
def test_stored_numbers_are_those_of_the_shipped_weights(name):
    shipped = json.loads((ROOT / "pretrained" / "small" / "config.json").read_text())["sha256"]
    stored = json.loads((ROOT / "benchmarks" / "quality" / f"{name}.json").read_text())
    assert stored["model_sha256"] == shipped
