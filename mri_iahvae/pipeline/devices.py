"""Where to compute, and how exactly."""

import os

import torch

from mri_iahvae.errors import UsageError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_EXACT_WORKSPACES = (":4096:8", ":16:8")  # that cuBLAS documents


def find_device(name: str = "auto") -> torch.device:
    """A device by name.

    Args:
        name: "auto" (CUDA when there is one, else CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: an unknown name, or a CUDA device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: no CUDA device here; use --device cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: expected an index below {torch.cuda.device_count()}")
    return device


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
