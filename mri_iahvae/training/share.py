"""One global batch, shared by the processes of a run: each works on its rows, all end up with the same numbers.

Random numbers are drawn for the whole batch in each process, which then keeps its rows: what a slice goes through
does not depend on the number of processes.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from mri_iahvae.processes import process_count, rank


@dataclass(frozen=True)
class Share:
    """The rows of one process: `rank`, `rank + count`, `rank + 2 count` ...

    Where the batch does not divide, the last row is given out again, so that all have equally many.

    Attributes:
        total: rows of the global batch.
        rank: number of the process.
        count: of processes.
    """

    total: int
    rank: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls, total: int) -> "Share":
        """The share of the process that calls."""
        return cls(total, rank(), process_count())

    def of(self, batch: Tensor) -> Tensor:
        """The own rows: (total, ...) to (ceil(total / count), ...)."""
        own = batch[self.rank :: self.count]
        return torch.cat([own, batch[-1:]]) if len(own) * self.count < self.total else own

    def gather(self, own: Tensor) -> Tensor:
        """The inverse of `of`, across processes: everyone's rows, each once."""
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)[: self.total]


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean over the processes; not finite anywhere is not finite everywhere."""
    if process_count() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / process_count()


def anywhere(*flags: bool, device: torch.device) -> list[bool]:
    """Whether each flag is set in any process."""
    if process_count() == 1:
        return list(flags)
    joined = torch.tensor(flags, dtype=torch.uint8, device=device)
    dist.all_reduce(joined, dist.ReduceOp.MAX)
    return [bool(flag) for flag in joined.tolist()]
