"""What a model knows is measured on held-back slices, augmented; the same seed measures the same."""

import pytest
import torch

from mri_iahvae.training.calibration import measure_domain

CPU = torch.device("cpu")


def test_held_back_slices_are_drawn_and_augmented(make_model, make_blobs):
    model, held_out = make_model(32), make_blobs(5)
    domain = measure_domain(model, held_out, "blobs", CPU, seed=3)
    assert (domain.description, domain.slices) == ("blobs", 40)
    assert held_out.reads == [1] * 5
    assert min(domain.deviation) > 0.01  # eight draws of a slice are not the same slice
    assert measure_domain(model, make_blobs(5), "blobs", CPU, seed=3) == domain
    assert measure_domain(model, make_blobs(5), "blobs", CPU, seed=4).mean != domain.mean


def test_zero_signal_slices_do_not_count(make_model, make_blobs):
    held_out, read = make_blobs(4), make_blobs(4).read
    held_out.read = lambda index: read(index) * (index % 2)
    assert 0 < measure_domain(make_model(32), held_out, "blobs", CPU).slices < 32
    held_out = make_blobs(4)
    held_out.read = lambda index: 0 * read(index)
    assert measure_domain(make_model(32), held_out, "blobs", CPU) is None


def test_an_encoder_that_sees_the_whole_slice_has_no_domain(make_model, make_blobs):
    assert measure_domain(make_model(16, encoder="bottom-up"), make_blobs(4), "blobs", CPU) is None
    # Not too many are drawn.
    assert measure_domain(make_model(16), make_blobs(70), "blobs", CPU).slices == 512


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda(make_model, make_blobs):
    domain = measure_domain(make_model(16), make_blobs(4), "blobs", torch.device("cuda"))
    assert min(domain.deviation) > 0
