"""One global batch, shared by the processes of a run, so that the numbers do not depend on how many there are.

Random numbers are drawn for the whole batch in each process, which then keeps those of its own slices.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from mri_iahvae.processes import process_count, rank


@dataclass(frozen=True)
class Shard:
    """The batch elements of one process: `rank`, `rank + count`, `rank + 2 count` ...

    Of a global batch of `total`. Where that does not divide, the last element is given out again, so that all processes
    have equally many.
    """

    total: int
    rank: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls, total: int) -> "Shard":
        return cls(total, rank(), process_count())

    def of(self, batch: Tensor) -> Tensor:
        """The process's own elements: (total, ...) to (ceil(total / count), ...)."""
        own = batch[self.rank :: self.count]
        return torch.cat([own, batch[-1:]]) if len(own) * self.count < self.total else own

    def uniform(self, low: float, high: float, generator: torch.Generator) -> Tensor:
        """A number for each of the process's own elements: float (ceil(total / count),), on the generator's device."""
        drawn = torch.rand(self.total, generator=generator, device=generator.device)
        return self.of(drawn) * (high - low) + low

    def gather(self, own: Tensor) -> Tensor:
        """The inverse of `of`, over all processes: (ceil(total / count), ...) to (total, ...)."""
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)[: self.total]
