"""What every record says of the program that made it, and of the machine."""

import platform
from typing import Any

import numpy as np
import torch

import mri_iahvae


def provenance(device: torch.device | None = None) -> dict[str, Any]:
    """Versions of the libraries that decide the numbers, as plain values.

    With the device that computed: that too, and whether its algorithms are deterministic.
    """
    computed = {"device": str(device), "deterministic": torch.are_deterministic_algorithms_enabled()}
    return {
        **({} if device is None else computed),
        "version": mri_iahvae.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
