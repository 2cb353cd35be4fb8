"""Intervals of a checkpoint, from held-out slices."""

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.model.checkpoint_config import INTERVALS
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_file import load_guide, save_guide
from mri_iahvae.model.interval_file import load_intervals
from mri_iahvae.training.intervals import LEVEL, calibrate_intervals

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_guide(Guide(GuideConfig(1, (4, 8), 1)), tmp_path, {})
    return tmp_path


def test_they_are_stored_with_the_guide_they_hold_for(folder, make_blobs):
    found = calibrate_intervals(folder, make_blobs(20), CPU)
    assert load_intervals(folder) == found
    assert (found.level, found.slices, found.guide_sha256) == (LEVEL, 20, load_guide(folder)[1])
    assert found.factor > 0
    assert calibrate_intervals(folder, make_blobs(20), CPU) == found
    assert calibrate_intervals(folder, make_blobs(20), CPU, seed=1) != found


def test_each_slice_is_measured_once(folder, make_blobs):
    slices = make_blobs(11)
    calibrate_intervals(folder, slices, CPU)
    assert slices.reads == [1] * 11


def test_a_guide_that_states_too_little_has_wider_intervals(folder, make_blobs):
    first = calibrate_intervals(folder, make_blobs(12), CPU)
    guide, _ = load_guide(folder)
    guide.error.calibration /= 4  # a fourth of the variance: half the expected error
    save_guide(guide, folder, {})
    second = calibrate_intervals(folder, make_blobs(12), CPU)
    assert second.factor == pytest.approx(2 * first.factor, rel=1e-3)


def test_of_too_few_slices_none_are_left_over(folder, make_blobs):
    calibrate_intervals(folder, make_blobs(9), CPU)
    assert (folder / INTERVALS).exists()
    assert calibrate_intervals(folder, make_blobs(8), CPU) is None
    assert not (folder / INTERVALS).exists()


def test_without_a_guide_there_is_nothing_to_calibrate(tmp_path, make_blobs):
    with pytest.raises(UsageError, match="expected a checkpoint with a guide"):
        calibrate_intervals(tmp_path, make_blobs(9), CPU)
