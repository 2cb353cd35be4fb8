"""A series through the pipeline: a mask for each frame, a single frame, the shipped model, what is refused."""

import numpy as np
import pytest
import torch

from mri_iahvae import Reconstructor, draw_mask
from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.volume import reconstruct_volume


def run(model, guide, kspace, mask, *, series=True, **options):
    settings = InferenceSettings(steps=1, series=series, **options)
    return reconstruct_volume(model, kspace, mask, settings, guide=guide)


@pytest.fixture
def masks(rng):
    """Bool (3, 20, 17), random columns around the centre of each frame."""
    columns = rng.random((3, 1, 17)) < 0.4
    columns[..., 7:10] = True
    return columns.repeat(20, axis=1)


def test_every_frame_keeps_what_was_measured_of_it(model, guide, kspace, masks):
    result = run(model, guide, kspace, masks, samples=2)
    assert np.array_equal(result.kspace[masks], kspace[masks])
    alone = run(model, guide, kspace, masks, series=False)
    assert not np.allclose(result.kspace, alone.kspace, rtol=1e-2)


def test_one_frame_is_a_plain_reconstruction(model, guide, kspace, masks):
    found, expected = (run(model, guide, kspace[:1], masks[:1], series=series) for series in (True, False))
    assert np.array_equal(found.image, expected.image)


def test_units_do_not_matter(model, guide, kspace, masks):
    small, large = (run(model, guide, scale * kspace, masks).image / scale for scale in (1, 2**20))
    np.testing.assert_allclose(small, large, atol=1e-6 * abs(small).max())


def test_progress_adds_up_to_the_frames(model, guide, kspace, masks):
    done = []
    settings = InferenceSettings(steps=1, series=True)
    reconstruct_volume(model, kspace, masks, settings, guide=guide, progress=done.append)
    assert sum(done) == pytest.approx(3)
    assert min(done) >= 0


def test_the_shipped_model_gains_from_other_frames(head_kspace):
    """A head at rest, other columns in each frame: over a fifth less error."""
    kspace = head_kspace(1, 64).repeat(4, axis=0)
    mask = np.stack([draw_mask("random", (64, 64), 4, seed=frame) for frame in range(4)])[:, None]
    mask = mask.repeat(64, axis=1)
    truth = ifft2c(torch.from_numpy(kspace)).numpy()
    errors = [
        np.linalg.norm(Reconstructor(quality="fast", series=series).reconstruct(kspace, mask).image - truth)
        ** 2
        for series in (False, True)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_what_cannot_be_a_series_is_refused(model, guide, kspace, masks):
    with pytest.raises(UsageError, match="series: the checkpoint has no guide"):
        run(model, None, kspace, masks)
    with pytest.raises(UsageError, match="method iterative has no guide, which a series needs"):
        InferenceSettings("iterative", series=True)
    with pytest.raises(UsageError, match="a series of multi-coil frames"):
        reconstruct_coils(model, kspace[:, None], masks, InferenceSettings(series=True), guide=guide)
