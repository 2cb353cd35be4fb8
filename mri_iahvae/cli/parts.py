"""Several processes divide a list of files: each takes its part, and needs no word from the others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click

from mri_iahvae.errors import UsageError

_T = TypeVar("_T")

_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "srun": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
}
"""By launcher, the variables with the number of a process, the number of processes, and its number on its machine."""


@dataclass(frozen=True)
class Part:
    """Part `number`, from 1, of `count` parts of a list; `source` says who chose it."""

    number: int = 1
    count: int = 1
    source: str = ""

    def of(self, items: Sequence[_T]) -> list[_T]:
        """Every `count`-th item: the parts are of nearly equal length, and each item is in one of them."""
        return list(items[self.number - 1 :: self.count])


def part(text: str) -> Part:
    """Read "I/N"."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{text!r} is not I/N, such as 2/8, with I from 1 to N.")
    return Part(int(match[1]), int(match[2]), "--part")


def part_of_environment(environment: Mapping[str, str]) -> Part:
    """The part of a process that torchrun or srun has started; of another one, the whole list."""
    for launcher, (rank, size, _) in _LAUNCHERS.items():
        if rank in environment and size in environment:
            number, count = environment[rank], environment[size]
            if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
                raise UsageError(
                    f"{rank}={number} and {size}={count} in the environment: expected a number below another; "
                    "give --part I/N"
                )
            return Part(int(number) + 1, int(count), launcher)
    return Part()


def local_number(environment: Mapping[str, str]) -> int | None:
    """Number of this process, from 0, among those of its machine; None where no launcher has started it."""
    for _, _, local in _LAUNCHERS.values():
        if environment.get(local, "").isdecimal():
            return int(environment[local])
    return None
