"""Peak memory of a run."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch


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
