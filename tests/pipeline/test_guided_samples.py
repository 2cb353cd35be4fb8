"""Posterior samples with a guide: draws of its error about the estimate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.pipeline import volume
from mri_iahvae.pipeline.volume import reconstruct_volume


def run(loaded, kspace, mask, samples, *, method="hybrid", consistency="hard", temperature=1.0, **options):
    settings = InferenceSettings(
        method, 2, samples=samples, data_consistency=consistency, temperature=temperature
    )
    return reconstruct_volume(
        loaded.model, kspace, mask, settings, guide=loaded.guide, keep_samples=bool(samples), **options
    )


@pytest.mark.parametrize("method", ["guide", "hybrid"])
def test_their_mean_is_the_estimate_and_measured_bins_are_kept(loaded, head_kspace, columns, method):
    kspace = head_kspace(2)
    plain, drawn = (run(loaded, kspace, columns, k, method=method) for k in (0, 4))
    np.testing.assert_allclose(drawn.image, plain.image, atol=1e-5 * np.abs(plain.image).max())
    assert np.array_equal(drawn.kspace[..., columns], kspace[..., columns])
    assert (drawn.std > 0).all()
    assert np.abs(drawn.samples - drawn.image[:, None]).max() > 1e-3 * np.abs(drawn.image).max()


@pytest.mark.parametrize("consistency", ["hard", "soft"])
def test_the_deviation_is_that_of_the_part_in_phase(loaded, head_kspace, columns, consistency):
    given = loaded, head_kspace(2), columns
    options = {"method": "guide", "consistency": consistency, "noise_sigma": 0.2}
    many = run(*given, 400, **options)
    turned = (many.samples * np.exp(-1j * np.angle(many.image))[:, None]).real
    ratio = turned.std(axis=1) / many.std  # of 200 independent draws: errs by 0.05
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert np.abs(ratio - 1).mean() < 0.06
    few = run(*given, 2, temperature=0.5, **options)
    np.testing.assert_allclose(few.std, many.std / 2, rtol=1e-5)


def test_they_depend_on_their_slice_alone(loaded, head_kspace, columns):
    kspace = head_kspace(3)
    whole = run(loaded, kspace, columns, 4, batch=8).samples
    alone = run(loaded, kspace[2:], columns, 4, first=2, batch=1).samples
    np.testing.assert_allclose(alone[0], whole[2], atol=1e-5 * np.abs(whole).max())


def test_with_nothing_measured_samples_are_the_priors(loaded, head_kspace):
    nothing = np.zeros(32, bool)
    found = run(loaded, head_kspace(), nothing, 4)
    assert (found.std > 0).any()
    left = run(loaded, head_kspace(), nothing, 0, method="guide")
    assert not left.image.any()
    assert left.warnings == ("nothing measured in the central 32x32 bins of slices 0, 1: left zero",)


def test_one_sample_out_of_bounds_marks_its_slice(loaded, head_kspace, columns, monkeypatch):
    def first_is_out(*arguments):
        found = infer(*arguments)
        return replace(found, bounded=torch.arange(len(found.bounded)) == 0)

    monkeypatch.setattr(volume, "infer", first_is_out)
    found = run(loaded, head_kspace(2), columns, 4, method="iterative", batch=8)
    assert found.bounded.tolist() == [True, False]
