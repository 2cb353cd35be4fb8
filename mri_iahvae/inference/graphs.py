"""CUDA graphs of a refinement's evaluations.

At small scales a GPU waits for the CPU to launch hundreds of tiny kernels. An evaluation of the objective and its
gradient launches the same ones every step, and for every batch of one shape: it is recorded once, on buffers that
stay where they are, and replayed by a single launch.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mri_iahvae.inference.lbfgs import Evaluate

Build = Callable[[Sequence[Tensor]], Evaluate]
"""An evaluation that reads these tensors and no others that change."""

_Pool: TypeAlias = Any  # PyTorch keeps the type to itself

_WARM_UP = 2  # evaluations before recording, in which libraries choose kernels and make their plans

_eager: ContextVar[bool] = ContextVar("eager", default=False)


@contextmanager
def eager() -> Iterator[None]:
    """Within it nothing is recorded: for comparison."""
    token = _eager.set(True)
    try:
        yield
    finally:
        _eager.reset(token)


def recordable(device: torch.device) -> bool:
    """Whether evaluations on this device are recorded."""
    return device.type == "cuda" and not _eager.get()


class _Recording:
    """One evaluation on buffers of its own.

    Args:
        build: makes the evaluation of these buffers.
        tensors: of the shapes to come.
        x: float (B, n), likewise.
        pool: memory that the recordings of a model share: they run one after the other, and their results are
            copied out at once.
    """

    def __init__(self, build: Build, tensors: Sequence[Tensor], x: Tensor, pool: _Pool) -> None:
        self.tensors = [tensor.clone() for tensor in tensors]
        self.x = x.clone()
        self.replay, self.results = _record(build(self.tensors), self.x, pool)

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Take the tensors of another batch."""
        for buffer, tensor in zip(self.tensors, tensors, strict=True):
            buffer.copy_(tensor)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient at x."""
        self.x.copy_(x)
        self.replay()
        value, gradient = self.results
        return value.clone(), gradient.clone()


class _Recordings:
    """The recordings of one model."""

    def __init__(self) -> None:
        self.pool: _Pool = None
        self.known: dict[Hashable, _Recording] = {}


_models: WeakKeyDictionary[nn.Module, _Recordings] = WeakKeyDictionary()


def recorded(model: nn.Module, key: Hashable, build: Build, tensors: Sequence[Tensor], x: Tensor) -> Evaluate:
    """An evaluation to be replayed, recorded when the first of its shape is asked for.

    Args:
        model: whose weights it reads; its recordings live as long as it does.
        key: tells evaluations apart that are made differently from tensors of the same shapes.
        build: makes it from tensors.
        tensors: what it reads beside x and the weights.
        x: float (B, n), any: where it is evaluated first.

    Returns:
        The evaluation, good until the next one with this key and these shapes is asked for.
    """
    recordings = _models.setdefault(model, _Recordings())
    shapes = tuple((tensor.shape, tensor.dtype) for tensor in (x, *tensors))
    weights = next(model.parameters()).data_ptr()  # weights that were moved are to be read where they are now
    full = (key, shapes, weights, torch.is_autocast_enabled(x.device.type))
    found = recordings.known.get(full)
    if found is None:
        if recordings.pool is None and x.device.type == "cuda":
            recordings.pool = torch.cuda.graph_pool_handle()
        found = recordings.known[full] = _Recording(build, tensors, x, recordings.pool)
    else:
        found.load(tensors)
    return found


def _record(evaluate: Evaluate, x: Tensor, pool: _Pool) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
    """What evaluates at x again, and where it puts the results."""
    stream = torch.cuda.Stream(x.device)
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            evaluate(x)
    torch.cuda.current_stream(x.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        results = evaluate(x)
    return graph.replay, results
