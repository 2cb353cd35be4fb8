"""Progress by the calls of networks: parts add up, whatever happens."""

import pytest
import torch
from torch import nn

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.presets import guide_of
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.steps import guide_part, reported
from mri_iahvae.pipeline.volume import reconstruct_volume


@pytest.fixture
def done():
    return []


def test_each_call_reports_the_work_before_it(done):
    first, second = nn.Identity(), nn.Identity()
    with reported([first, second], [1.0, 2.0, 1.0], 8.0, done.append):
        first(0)
        second(0)
        assert done == [2.0, 4.0]
        second(0)  # of which nothing was said
        assert sum(done) == 6.0
    assert sum(done) == 8.0
    first(0)
    assert sum(done) == 8.0


def test_failed_work_is_taken_back(done):
    module = nn.Identity()

    def fail():
        with reported([module], [1.0, 1.0], 1.0, done.append):
            module(0)
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert sum(done) == 0


def test_the_guide_moves_the_bar_step_by_step_and_copy_by_copy(model, head_kspace, done):
    guide, kspace = Guide(guide_of("tiny")), head_kspace(1)
    plain = reconstruct_volume(model, kspace, None, InferenceSettings(symmetries=2), guide=guide)
    watched = reconstruct_volume(
        model, kspace, None, InferenceSettings(symmetries=2), guide=guide, progress=done.append
    )
    torch.testing.assert_close(torch.from_numpy(watched.image), torch.from_numpy(plain.image), rtol=0, atol=0)
    assert len(done) == 2 * len(guide.steps) + 1 + len(model.scales)
    assert min(done) > 0
    assert sum(done) == pytest.approx(1)
    done.clear()
    settings = InferenceSettings("guide", symmetries=1)
    reconstruct_volume(model, kspace, None, settings, guide=guide, progress=done.append)
    assert len([part for part in done if part]) == len(guide.steps) + 1
    assert sum(done) == pytest.approx(1)


def test_slices_of_several_coils_add_up(model, guide, head_kspace, coil_maps, done):
    images = ifft2c(torch.from_numpy(head_kspace(2)))
    kspace = fft2c(images[:, None] * torch.from_numpy(coil_maps(3, 32, 32))).numpy()
    settings = InferenceSettings(symmetries=2)
    reconstruct_coils(model, kspace, None, settings, guide=guide, progress=done.append)
    assert len(done) == 2 * (2 * len(guide.steps) + 1)
    assert sum(done) == pytest.approx(2)


def test_the_guide_takes_more_of_the_time_on_larger_slices():
    settings = InferenceSettings()
    assert guide_part(settings, 1) == pytest.approx(0.5)
    assert guide_part(settings, 25) > 0.9
    assert guide_part(InferenceSettings("guide"), 1) == 1
    assert 0 < guide_part(InferenceSettings(steps="auto"), 1) < 0.5
