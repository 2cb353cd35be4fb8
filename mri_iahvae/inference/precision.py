"""The precision of the convolutions, by what the processor has."""

import torch

from mri_iahvae.inference.settings import Precision


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers itself; PyTorch emulates it on others, slowly."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older PyTorch does not say
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def convolutions(device: torch.device, precision: Precision) -> torch.autocast:
    """Context manager in which the convolutions of a device have this precision."""
    lower = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)
