"""Slices to train on; batches are a pure function of seed and step, so that exact resume needs no sampler state."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from mri_iahvae.training.shard import Shard


class SliceSource(Protocol):
    """Fully sampled slices, addressed by number."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> np.ndarray:
        """k-space of one slice: complex64 (n, n), n a power of two, DC at (n // 2, n // 2)."""


class CachedSlices:
    """A source that keeps every slice that was read: from its file once, whatever the number of epochs."""

    def __init__(self, source: SliceSource) -> None:
        self._source = source
        self._read = cache(lambda index: torch.from_numpy(source.read(index)))

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> np.ndarray:
        """As `SliceSource.read`."""
        return self._read(index).numpy()

    def stack(self, indices: list[int]) -> Tensor:
        """k-space of some slices: complex64 (len(indices), n, n)."""
        return torch.stack([self._read(index) for index in indices])


def step_seed(seed: int, step: int, purpose: int) -> int:
    """A seed for everything random in one step; other purposes than 0 are for what is drawn once."""
    return int(np.random.SeedSequence((seed, step, purpose)).generate_state(1, np.uint64)[0]) >> 1


class StepBatches(IterableDataset):
    """Endless batches: (the process's own k-space complex64 (B, n, n), seed of the step, which all processes shard).

    `start` gives the first step when the batches are asked for: a resumed run sees those that it would have seen.
    """

    def __init__(
        self, slices: CachedSlices, shard: Shard, seed: int, start: Callable[[], int] = lambda: 0
    ) -> None:
        super().__init__()
        self.slices, self.shard, self.seed, self.start = slices, shard, seed, start

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for step in count(self.start()):
            key = step_seed(self.seed, step, 0)
            choice = np.random.default_rng(key).integers(len(self.slices), size=self.shard.total)
            yield self.slices.stack(self.shard.of(torch.from_numpy(choice)).tolist()), key
