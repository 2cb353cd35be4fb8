"""Over-dispersion of the prior, of one whose error and dispersion are known."""

import pytest
import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.training.dispersion import measure_dispersion
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.statistics import canonical_batch

CPU = torch.device("cpu")


def test_the_same_seed_measures_the_same(make_model, make_blobs):
    model, held_out = make_model(32), make_blobs(5)
    first = measure_dispersion(model, held_out, CPU, seed=3)
    assert held_out.reads == [1] * 5
    assert len(first) == 6
    assert first[0] == 1
    assert min(first) >= 1
    assert measure_dispersion(model, make_blobs(5), CPU, seed=3) == first


@pytest.mark.parametrize(("far", "ratio"), [(2.0, 4.0), (1.5, 2.25), (0.5, 1.0)])
def test_the_ratio_is_of_energies(make_model, make_blobs, monkeypatch, far, ratio):
    """Of a prior whose mean is zero, and whose samples are so many times the true band."""
    model, held_out = make_model(32), make_blobs(3)
    kspace = canonical_batch(CachedSlices(held_out).stack([0, 1, 2]), 32)
    for scale in model.scales:
        part, bins = crop(kspace, scale.side) * model.decomposition.ring(scale.index), scale.bins
        monkeypatch.setattr(scale, "run", lambda _h, latents=None: 0.0 if latents is None else far)
        monkeypatch.setattr(
            scale, "bins", lambda h, part=part, bins=bins: h * part if isinstance(h, float) else bins(h)
        )
    assert measure_dispersion(model, held_out, CPU) == (1.0, *[ratio] * 5)


def test_zero_signal_slices_do_not_count(make_model, make_blobs):
    model, held_out, read = make_model(32), make_blobs(5), make_blobs(5).read
    held_out.read = lambda index: read(index) * (index != 2)
    found = measure_dispersion(model, held_out, CPU)
    assert len(found) == 6
    assert all(1 <= ratio < 1e6 for ratio in found)
    held_out = make_blobs(5)
    held_out.read = lambda index: 0 * read(index)
    assert measure_dispersion(model, held_out, CPU) == ()


@pytest.mark.parametrize("decoder", ["separable", "ordinary"])
def test_models_whose_scales_are_not_inferred_one_by_one_have_none(make_model, make_blobs, decoder):
    model = make_model(16, encoder="bottom-up", decoder=decoder)
    assert measure_dispersion(model, make_blobs(4), CPU) == ()
