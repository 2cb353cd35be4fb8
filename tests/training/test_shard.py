"""What a slice goes through does not depend on the number of processes among which its batch is divided."""

import pytest
import torch

from mri_iahvae.training.augment import augment
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.statistics import canonical_batch


def shards(total, count):
    return [Shard(total, rank, count) for rank in range(count)]


def joined(parts, total):
    """What `gather` makes of the parts of all processes."""
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


def seeded():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(("total", "count"), [(8, 1), (8, 2), (7, 2), (8, 3), (2, 3), (1, 4)])
def test_every_batch_element_is_someones(total, count):
    batch = torch.arange(3 * total).reshape(total, 3)
    parts = [shard.of(batch) for shard in shards(total, count)]
    assert len({len(part) for part in parts}) == 1  # equal work
    assert torch.equal(joined(parts, total), batch)


@pytest.mark.parametrize("count", [2, 3])
def test_augmentation_is_the_slices_own(blobs, count):
    whole = augment(blobs, seeded(), resampled=0.5)
    parts = [augment(shard.of(blobs), seeded(), shard, 0.5) for shard in shards(8, count)]
    torch.testing.assert_close(joined(parts, 8), whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


@torch.no_grad()
def test_posterior_samples_are_the_slices_own(make_model, blobs):
    model, kspace = make_model(), canonical_batch(blobs, 32)
    means = torch.arange(8) % 3 == 0
    whole = posterior_pass(model, kspace, seeded(), means=means)
    parts = [
        posterior_pass(model, shard.of(kspace), seeded(), means=shard.of(means), shard=shard)
        for shard in shards(8, 2)
    ]
    for name in ("error", "kl"):
        found = joined([getattr(part, name).T for part in parts], 8)
        torch.testing.assert_close(found, getattr(whole, name).T, rtol=1e-4, atol=1e-4)
