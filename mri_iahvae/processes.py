"""A training of several processes, one per device, on one machine or several; Lightning starts them and joins them.

Each process runs the whole command. On one machine the first one starts the others by running its own command line
again; under SLURM (`srun`) and torchrun they are there already. They find each other through the environment, as
Lightning's cluster environments read it.
"""

import atexit
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from subprocess import Popen, TimeoutExpired
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed as dist

from mri_iahvae.errors import IahvaeError, UsageError, reason

if TYPE_CHECKING:
    from lightning.fabric import Fabric

_T = TypeVar("_T")

TIMEOUT = timedelta(minutes=10)  # without a word from another process
_GRACE = 0.5  # seconds that processes and their threads get to end by themselves
_PATIENCE = 2.0  # seconds that they get to follow SIGTERM
_OBSERVER = (
    "lightning.fabric.strategies.launchers.subprocess_script"  # reports a process that died, then ends all
)


@dataclass(frozen=True)
class Processes:
    """How many processes share a run: on each machine as many as CUDA devices, or so many on the CPU."""

    devices: int = 1
    num_nodes: int = 1

    @property
    def count(self) -> int:
        """Of all machines together."""
        return self.devices * self.num_nodes


ALONE = Processes()


def rank() -> int:
    """Number of this process, from 0; process 0 alone writes and speaks."""
    return dist.get_rank() if _connected() else 0


def process_count() -> int:
    """Processes that are joined."""
    return dist.get_world_size() if _connected() else 1


def of_the_first(find: Callable[[], _T]) -> _T:
    """What process 0 finds, for all."""
    found = [find() if rank() == 0 else None]
    if process_count() > 1:
        dist.broadcast_object_list(found)
    return cast("_T", found[0])


@contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[torch.device]:
    """Start the other processes, or wait for them, and end together with them. Yields the device of this process.

    Where one fails, it says why and the others end too: process 0 with an error, the others without a word.

    Raises:
        UsageError: there are no such devices, or SLURM has started another number of processes.
        IahvaeError: the processes did not find each other, or another one has ended.
    """
    if processes.count == 1:
        yield device
        return
    fabric = _fabric(processes, device)
    try:
        with quiet_lightning():
            fabric.launch()
    except ValueError as error:
        raise UsageError(
            f"--devices {processes.devices} --num-nodes {processes.num_nodes}: SLURM has started others "
            f"({reason(error)})"
        ) from None
    except RuntimeError as error:
        raise IahvaeError(
            f"the {processes.count} processes of this run did not find each other ({reason(error)}); with several "
            "machines start the same command on each, by srun, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set"
        ) from None
    atexit.register(_disconnect)
    children: list[Popen[bytes]] = getattr(fabric.strategy.launcher, "procs", [])
    logging.getLogger(_OBSERVER).addFilter(_tell)
    logging.getLogger(_OBSERVER).setLevel(logging.INFO)
    try:
        yield fabric.device
    except BaseException as error:
        if rank():
            if _lost(error) or isinstance(error, KeyboardInterrupt) or _ended_by_the_first():
                # Process 0 reports the error. A process that it started must not look like one that failed by itself.
                raise SystemExit(1 if _lost(error) and not fabric.local_rank else 0) from None
            raise
        _end(children)
        if _lost(error):
            raise IahvaeError(
                f"another of the {processes.count} processes of this run has ended or does not answer; if it could "
                "say why, that stands above"
            ) from None
        raise
    for child in children:
        child.wait()


def cluster_plugins() -> list[Any]:
    """Plugins for Lightning: under SLURM no requeueing of its own, which would write states where it likes."""
    # Imported here: a run of one process need not wait for Lightning.
    from lightning.fabric.plugins.environments import SLURMEnvironment  # noqa: PLC0415

    with quiet_lightning():
        try:
            return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
        except RuntimeError as error:
            raise UsageError(f"SLURM: {reason(error)}") from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's banners and its advice on loaders that this program does not use are not for our users."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", module="torch.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _fabric(processes: Processes, device: torch.device) -> "Fabric":
    from lightning.fabric import Fabric  # noqa: PLC0415 - slow
    from lightning.fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415

    if device.index is not None:
        raise UsageError(f"--device {device}: several processes need the kind alone, such as {device.type}")
    if device.type == "cuda" and processes.devices > torch.cuda.device_count():
        raise UsageError(f"--devices {processes.devices}: expected at most {torch.cuda.device_count()} here")
    with quiet_lightning():
        return Fabric(
            accelerator=device.type,
            devices=processes.devices,
            num_nodes=processes.num_nodes,
            strategy=DDPStrategy(timeout=TIMEOUT),
            plugins=cluster_plugins(),
        )


def _connected() -> bool:
    return dist.is_available() and dist.is_initialized()


def _disconnect() -> None:
    """Before Python goes: a thread of the connection that outlives it may abort the process (std::terminate).

    Such a thread may want the interpreter's lock for what it drops last, while PyTorch (2.6) holds the lock and waits
    for the thread: so it gets a moment before.
    """
    if _connected():
        time.sleep(_GRACE)
        dist.destroy_process_group()


def _lost(error: BaseException) -> bool:
    """Whether an error is that of a broken connection between processes, not one of the computation."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _tell(record: logging.LogRecord) -> bool:
    """Report in our words that a process died: it may have had no time for its own."""
    del record
    print("Error: a process of this run died; the others are ended too", file=sys.stderr, flush=True)  # noqa: T201
    return False


def _ended_by_the_first() -> bool:
    """Give process 0 a moment: where it has met the same error, it reports it and ends the others."""
    try:
        time.sleep(_PATIENCE)
    except KeyboardInterrupt:
        return True
    return False


def _end(children: list[Popen[bytes]]) -> None:
    """They may wait for this process for ever."""
    ending = children.copy()
    # The list is that of Lightning's observer, which takes a process that we end for one that died, and kills us all.
    children.clear()
    if dist.get_backend() == "gloo":
        _disconnect()  # wakes those that wait for an answer
    for seconds, end in ((_GRACE, Popen.terminate), (_PATIENCE, Popen.kill)):
        for child in ending:
            try:
                child.wait(seconds)
            except TimeoutExpired:
                end(child)
