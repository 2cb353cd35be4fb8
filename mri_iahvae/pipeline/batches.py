"""Work in batches that fit the memory."""

from collections.abc import Callable

import torch

from mri_iahvae.errors import IahvaeError, UsageError


class Batches:
    """Runs work on ranges of slices, a batch at a time; halves the batch when memory runs out.

    Args:
        size: slices at a time to start with.

    Attributes:
        size: slices at a time now.
        first: slices at a time at the start.
    """

    def __init__(self, size: int) -> None:
        self.first = self.size = size

    def run(self, work: Callable[[slice], None], slices: int) -> None:
        """Call `work` with consecutive ranges that cover so many slices.

        Raises:
            IahvaeError: the memory does not suffice for a single slice.
        """
        start = 0
        while start < slices:
            rng = slice(start, min(start + self.size, slices))
            if self._fits(work, rng):
                start = rng.stop
            elif self.size == 1:
                raise IahvaeError(
                    "out of memory with one slice at a time: use a smaller model or another device"
                )
            else:
                self.size = min(self.size, rng.stop - rng.start) // 2 or 1
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _fits(self, work: Callable[[slice], None], rng: slice) -> bool:
        # A function of its own: the exception, and the memory that its traceback holds, ends with it.
        try:
            work(rng)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            return False
        return True


def _out_of_memory(error: Exception) -> bool:
    # PyTorch has an exception of its own for accelerators only; its CPU allocator raises a RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def make_batches(batch: int | Batches | None, device: torch.device) -> Batches:
    """So many slices at a time; None for enough to fill the device, few enough for its caches.

    Batches that have begun go on.

    Raises:
        UsageError: none at a time.
    """
    if isinstance(batch, Batches):
        return batch
    if batch is not None and batch < 1:
        raise UsageError(f"batch {batch}: expected at least one slice")
    return Batches(batch or (8 if device.type == "cpu" else 64))
