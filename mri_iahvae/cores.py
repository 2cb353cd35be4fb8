"""How many CPU cores this process may use: PyTorch sees its affinity, but not the quota of a container."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def limit_threads(processes: int = 1) -> None:
    """Give each of so many processes its part of the cores, where a quota allows fewer than PyTorch would take.

    It has to come before PyTorch is imported. Who has set OMP_NUM_THREADS has decided.
    """
    cores = usable_cores()
    if cores < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))


def usable_cores(root: Path = Path("/")) -> int:
    """Cores by affinity and by the CPU quotas of this process's control groups, of version 1 or 2; at least 1."""
    return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in _quotas(root))])


def _quotas(root: Path) -> Iterator[float]:
    """In cores, of each control group that has one: that of the process and those above it."""
    with suppress(OSError):  # no Linux with control groups
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            controllers = names.split(",") if names else []
            if names and "cpu" not in controllers:
                continue
            # A container may see the path that its group has on the host, and its own group at the top.
            group = Path(path.lstrip("/"))
            for name in {"", "unified"} if not names else {names, "cpu"}:
                for folder in (group, *group.parents):
                    yield from _quota(root / "sys/fs/cgroup" / name / folder)


def _quota(folder: Path) -> Iterator[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0:
                yield int(quota) / int(period)
