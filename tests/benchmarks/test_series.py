"""The series of the benchmark: motion begins at rest, masks differ, and the rival does what it is for."""

import numpy as np
import pytest
import torch

from mri_iahvae.kspace.fft import ifft2c

pytest.importorskip("scipy")
from benchmarks.beyond.series import (
    FRAMES,
    Sampling,
    measured,
    moving,
    nmse,
    total_variation_in_time,
)


@pytest.fixture
def head(head_kspace):
    return np.abs(ifft2c(torch.from_numpy(head_kspace(1, 32)))[0].numpy())


def test_motion_begins_and_ends_each_breath_at_rest(head):
    frames = moving(head, contrast=False)
    assert frames.shape == (FRAMES, 32, 32)
    np.testing.assert_allclose(frames[[0, 8]], [head, head], atol=1e-5)
    assert nmse(frames[4:5], frames[:1]) > 0.01


def test_contrast_comes_and_stays(head):
    ratio = moving(head, contrast=True)[0::8] / moving(head, contrast=False)[0::8].clip(1e-6)
    assert ratio[0][head > 0.1].mean() < ratio[1][head > 0.1].mean() <= 1.6


def test_masks_differ_from_frame_to_frame_or_not():
    own, same = (Sampling(4, own=own).mask(32) for own in (True, False))
    assert (own != own[:1]).any()
    assert (same == same[:1]).all()


def test_total_variation_fills_frames_at_rest(head):
    pytest.importorskip("sigpy")
    truth = np.repeat(head[None], FRAMES, axis=0)
    mask = Sampling(4).mask(32)
    kspace = measured(truth, mask, 0)
    zero_filled = ifft2c(torch.from_numpy(kspace)).numpy()
    assert nmse(truth, total_variation_in_time(kspace, mask, 1.0)) < 0.3 * nmse(truth, zero_filled)
