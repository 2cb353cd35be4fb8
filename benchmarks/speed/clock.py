"""What the benchmarks of speed measure with: clocks, fits, peak memory, models to time."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import IAHVAE

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


def timed(run: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """What a run gives, and its wall time in seconds, the device's queue emptied before and after."""
    _synchronize(device)
    start = time.perf_counter()
    result = run()
    _synchronize(device)
    return result, time.perf_counter() - start


def interleaved(
    runs: Mapping[Key, Callable[[], object]], device: torch.device, rounds: int, limit: float = float("inf")
) -> dict[Key, float]:
    """Median seconds of each run. The runs take turns: what disturbs the machine meets all of them.

    No round starts once `limit` seconds have passed.
    """
    taken: dict[Key, list[float]] = {key: [] for key in runs}
    start = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - start > limit:
            break
        for key, run in runs.items():
            taken[key].append(timed(run, device)[1])
    return {key: statistics.median(values) for key, values in taken.items()}


def line(points: Mapping[int, float]) -> Callable[[int], float]:
    """Seconds as a function of the number of steps: the least-squares line through some points."""
    slope, intercept = np.polyfit(list(points), list(points.values()), 1)
    return lambda steps: float(intercept + slope * steps)


def untrained(config: ModelConfig, device: torch.device) -> IAHVAE:
    """A model with seeded weights of which none is zero, so that gradients flow everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IAHVAE(config)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.data.normal_(std=0.02)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def random_kspace(model: IAHVAE, batch: int) -> Tensor:
    """Seeded k-space of unit bins, complex64 (B, N, N)."""
    noise = torch.Generator().manual_seed(0)
    return torch.randn(batch, model.size, model.size, dtype=torch.complex64, generator=noise).to(
        model.gains.device
    )


def peak_memory(run: Callable[..., object], *arguments: object, device: torch.device) -> float:
    """Bytes that `run(*arguments)`, a function of a module, takes at most, beyond what Python and PyTorch take.

    On a CPU it runs in a process of its own; NaN where the system (not Linux) has no count of the peak.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run(*arguments)
        return float(torch.cuda.max_memory_allocated(device) - before)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_resident, run, arguments, torch.get_num_threads()).result()


def _resident(run: Callable[..., object], arguments: tuple[object, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    before = _peak_resident()
    run(*arguments)
    return _peak_resident() - before


def _peak_resident() -> float:
    # Not resource.getrusage: its peak starts with that of the process which started this one.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), float("nan"))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
