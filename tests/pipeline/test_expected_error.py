"""Expected errors of a volume: what they are of, their units, and where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.interval_file import Intervals, save_intervals
from mri_iahvae.pipeline import volume
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.volume import reconstruct_volume


def run(loaded, kspace, mask, *, guide=True, noise_sigma=0.0, batch=None, **settings):
    how = InferenceSettings(**{"method": "guide", **settings})
    given = {"noise_sigma": noise_sigma, "batch": batch, "guide": loaded.guide if guide else None}
    return reconstruct_volume(loaded.model, kspace, mask, how, **given)


def test_it_is_in_the_units_of_the_image_and_of_regions(loaded, head_kspace, columns):
    kspace = head_kspace(3)
    found = run(loaded, kspace, columns).expected_error
    assert found.shape == (3, 32, 32)
    assert found.dtype == np.float32
    assert (found > 0).all()
    blocks = found.reshape(3, 4, 8, 4, 8)
    assert (blocks == blocks[:, :, :1, :, :1]).all()
    np.testing.assert_allclose(run(loaded, 2048 * kspace, columns).expected_error, 2048 * found, rtol=1e-4)
    np.testing.assert_allclose(run(loaded, kspace, columns, batch=1).expected_error, found, rtol=1e-4)


def test_it_is_the_mean_deviation_of_the_samples(loaded, head_kspace, columns):
    found = run(loaded, head_kspace(2), columns, samples=200, method="hybrid")
    means = found.std.reshape(2, 4, 8, 4, 8).mean(axis=(2, 4))
    expected = found.expected_error[:, ::8, ::8]
    assert np.median(expected / means) == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_measured_bins_are_exact_or_as_noisy_as_they_are_kept(loaded, head_kspace):
    kspace, everything = head_kspace(2), np.ones((32, 32), bool)
    assert not run(loaded, kspace, everything).expected_error.any()
    noisy = run(loaded, kspace, everything, noise_sigma=0.3).expected_error
    np.testing.assert_allclose(noisy, 0.3 * np.sqrt(2 / np.pi), rtol=0.1)
    soft = run(loaded, kspace, everything, noise_sigma=0.3, data_consistency="soft").expected_error
    assert soft.max() < 0.3 * np.sqrt(2 / np.pi)


def test_of_a_slice_of_which_nothing_is_known_it_is_not_known(loaded, head_kspace, columns, monkeypatch):
    estimate = volume.guided

    def second_is_dropped(*arguments):
        found, dropped = estimate(*arguments)
        variance = found.variance.clone()
        variance[1, ~columns] = torch.inf
        return found._replace(variance=variance), dropped

    monkeypatch.setattr(volume, "guided", second_is_dropped)
    found = run(loaded, head_kspace(2), columns).expected_error
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_without_a_guide_and_of_several_coils_there_is_none(loaded, head_kspace, columns):
    kspace = head_kspace()
    assert run(loaded, kspace, columns, guide=False, method="amortized").expected_error is None
    assert run(loaded, kspace, columns, method="iterative").expected_error is None
    coils = np.stack([kspace, 0.5 * kspace], axis=1)
    settings = InferenceSettings("guide")
    assert (
        reconstruct_coils(loaded.model, coils, columns, settings, guide=loaded.guide).expected_error is None
    )


def test_half_widths_are_multiples_of_it(loaded, head_kspace, columns):
    found = run(loaded, head_kspace(), columns)
    assert found.half_width is None
    wide = replace(found, interval_factor=2.5)
    np.testing.assert_array_equal(wide.half_width, np.float32(2.5) * found.expected_error)


def test_intervals_hold_for_their_guide_alone(checkpoint, tmp_path, loaded):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert loaded.intervals is None
    own = Intervals(0.9, 2.0, 20, loaded.guide_sha256)
    save_intervals(own, tmp_path)
    again = LoadedModel.load(tmp_path, torch.device("cpu"))
    assert (again.intervals, again.warnings) == (own, ())
    save_intervals(replace(own, guide_sha256="another"), tmp_path)
    other = LoadedModel.load(tmp_path, torch.device("cpu"))
    assert other.intervals is None
    assert "intervals are of another guide" in other.warnings[0]
