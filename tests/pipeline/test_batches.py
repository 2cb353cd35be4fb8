"""Batches that shrink until they fit."""

import numpy as np
import pytest
import torch

from mri_iahvae.errors import IahvaeError
from mri_iahvae.pipeline.batches import Batches

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: 9 bytes"
)


class Work:
    """Work that fails on more than `most` rows at a time, and remembers its calls."""

    def __init__(self, most, error=None):
        self.most, self.error = most, error or MemoryError()
        self.calls, self.done = [], []

    def __call__(self, rng):
        rows = list(range(rng.start, rng.stop))
        self.calls.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        self.done += rows


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 20])
def test_every_row_is_done_once_in_order(rows):
    work, batches = Work(100), Batches(8)
    batches.run(work, rows)
    assert work.done == list(range(rows))
    assert all(count == 8 for count in work.calls[:-1])
    assert batches.size == batches.first == 8


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU_MESSAGE)]
)
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_memory_that_runs_out_halves_the_batch(error, most):
    work, batches = Work(most, error), Batches(8)
    batches.run(work, 11)
    assert work.done == list(range(11))
    fits = {1: 1, 2: 2, 3: 2, 7: 4}[most]
    assert batches.size == fits
    assert batches.first == 8
    failures = [count for count in work.calls if count > most]
    assert failures == [8, 4, 2][: len(failures)]  # no size is tried again


def test_fewer_rows_than_the_batch_are_halved_themselves():
    """And the size that fits is kept for the next run."""
    work, batches = Work(1), Batches(64)
    batches.run(work, 3)
    batches.run(work, 2)
    assert work.calls == [3, *[1] * 5]


@pytest.mark.parametrize("size", [1, 5])
def test_a_row_that_does_not_fit_is_an_error_of_one_line(size):
    with pytest.raises(IahvaeError, match="out of memory with one slice at a time") as caught:
        Batches(size).run(Work(0), 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyboardInterrupt()]
)
def test_other_errors_pass(error):
    work, batches = Work(4, error), Batches(8)
    with pytest.raises(type(error)) as caught:
        batches.run(work, 8)
    assert caught.value is error
    assert work.calls == [8]
    assert batches.size == 8


@pytest.mark.parametrize("allocate", [torch.empty, np.empty])
def test_true_allocations_are_recognised(allocate):
    def work(rng):
        if rng.stop - rng.start > 1:
            allocate(2**58)
        done.append(rng.start)

    done = []
    Batches(2).run(work, 2)
    assert done == [0, 1]
