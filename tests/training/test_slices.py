import itertools

import numpy as np
import pytest
import torch

from mri_iahvae.training.shard import Shard
from mri_iahvae.training.slices import CachedSlices, StepBatches
from tests.training.conftest import same


def take(batches, count):
    return list(itertools.islice(iter(batches), count))


@pytest.fixture
def slices(make_blobs):
    return CachedSlices(make_blobs(20))


def test_batches_are_a_function_of_seed_and_step(slices):
    run = take(StepBatches(slices, Shard(4), seed=3, start=lambda: 0), 6)
    assert all(kspace.shape == (4, 32, 32) and kspace.dtype == torch.complex64 for kspace, _ in run)
    torch.manual_seed(1)  # global random state plays no part
    before = torch.get_rng_state()
    assert same(take(StepBatches(slices, Shard(4), seed=3, start=lambda: 0), 6), run)
    assert torch.equal(before, torch.get_rng_state())
    assert same(take(StepBatches(slices, Shard(4), seed=3, start=lambda: 4), 2), run[4:])
    others = [take(StepBatches(slices, Shard(4), seed=4, start=lambda: 0), 1)[0], *run]
    for a, b in itertools.combinations(others, 2):
        assert a[1] != b[1]
        assert not torch.equal(a[0], b[0])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_each_batch(slices, count):
    whole = take(StepBatches(slices, Shard(8), seed=3, start=lambda: 2), 3)
    shards = [Shard(8, rank, count) for rank in range(count)]
    parts = [take(StepBatches(slices, shard, seed=3, start=lambda: 2), 3) for shard in shards]
    for step, (kspace, key) in enumerate(whole):
        own = [part[step] for part in parts]
        assert {other for _, other in own} == {key}
        assert torch.equal(torch.stack([rows for rows, _ in own], dim=1).flatten(0, 1), kspace)


def test_every_slice_is_drawn_and_read_once(make_blobs):
    source = make_blobs(20)
    batches = take(StepBatches(CachedSlices(source), Shard(8), seed=0, start=lambda: 0), 25)
    assert source.reads == [1] * 20
    expected = torch.from_numpy(np.stack([make_blobs(20).read(i) for i in range(20)]))
    drawn = torch.cat([kspace for kspace, _ in batches])
    matches = (drawn[:, None] == expected[None]).all(dim=(2, 3))
    assert (matches.sum(1) == 1).all()
    assert matches.sum(0).min() >= 2  # of ten on average
