"""Where to compute."""

import torch

from mri_iahvae.errors import UsageError


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
