"""Where to compute, and how exactly."""

import os
from importlib.util import find_spec

import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.super_resolution import SuperResolution

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_EXACT_WORKSPACES = (":4096:8", ":16:8")  # that cuBLAS documents


def find_device(name: str = "auto", local: int | None = None) -> torch.device:
    """A device by name.

    Args:
        name: "auto" (CUDA when there is one, else CPU), "cpu", "cuda" or "cuda:N".
        local: number of this process among those of its machine, from 0: "auto" and "cuda" then mean the CUDA device
            of that number, counted round where there are fewer devices than processes.

    Raises:
        UsageError: an unknown name, or a CUDA device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise UsageError(f"--device {name}: no CUDA device here; use --device cpu or auto")
    if device.index is None:
        return device if local is None else torch.device("cuda", local % torch.cuda.device_count())
    if device.index >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: expected an index below {torch.cuda.device_count()}")
    return device


def compile_networks(model: IAHVAE) -> None:
    """Run the convolutional blocks of a model through `torch.compile`, mode "reduce-overhead" (CUDA graphs).

    Raises:
        UsageError: another device than CUDA, or PyTorch came without Triton, which writes the kernels.
    """
    device = model.gains.device
    if device.type != "cuda":
        raise UsageError(f"--compile: expected a CUDA device, found {device}; leave it out")
    if find_spec("triton") is None:
        raise UsageError(
            "--compile: expected Triton beside PyTorch, found none; install triton or leave it out"
        )
    for block in model.modules():
        if isinstance(block, Bottleneck | SuperResolution):
            block.compile(mode="reduce-overhead")


def compute_deterministically(device: torch.device) -> None:
    """Use algorithms that give the same bits each time on the same machine, from now on in this process.

    A CPU does so anyway. On CUDA some are slower, and cuBLAS asks for an environment variable, which is set here where
    it is missing; it must not have been used before.

    Args:
        device: that will compute.

    Raises:
        UsageError: the environment asks for other workspaces of cuBLAS.
    """
    if device.type == "cuda":
        found = os.environ.setdefault(_WORKSPACE, _EXACT_WORKSPACES[0])
        if found not in _EXACT_WORKSPACES:
            raise UsageError(
                f"--deterministic: expected {_WORKSPACE}={' or '.join(_EXACT_WORKSPACES)} in the environment, which "
                f"CUDA needs, found {found}; unset it"
            )
    torch.use_deterministic_algorithms(mode=True)
