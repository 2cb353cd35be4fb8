"""The guide of a checkpoint: one file `guide.safetensors`, its configuration in the header. Nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from mri_iahvae.errors import CheckpointError, reason
from mri_iahvae.files import atomic_path
from mri_iahvae.model.checkpoint import real, stored_weights
from mri_iahvae.model.checkpoint_config import GUIDE, find_checkpoint
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig

_UNREADABLE = OSError, SafetensorError, RuntimeError, ValueError, LookupError, TypeError


def save_guide(guide: Guide, folder: Path, training: dict[str, Any], *, half: bool = False) -> None:
    """Write the guide of a checkpoint; an interrupted write leaves what was there. Arguments as of `save_model`."""
    header = {"guide": json.dumps({"config": guide.config.to_json(), "training": training})}
    with atomic_path(folder / GUIDE) as part:
        part.write_bytes(save(stored_weights(guide, half=half), header))


def load_guide(checkpoint: str | Path, device: torch.device | None = None) -> tuple[Guide, str] | None:
    """Load the guide of a checkpoint for inference, as `load_model` does; None where there is none.

    Raises:
        UsageError: no such model or folder.
        CheckpointError: the file cannot be read as a guide.
    """
    path = find_checkpoint(checkpoint) / GUIDE
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["guide"])
        guide = Guide(GuideConfig.from_json(header["config"]))
        guide.load_state_dict({key: real(value) for key, value in load(content).items()})
    except _UNREADABLE as error:
        what = f"{path}: cannot be read as a guide ({reason(error)})"
        raise CheckpointError(f"{what}; copy the file again") from None
    guide = guide.to(device or torch.device("cpu")).eval().requires_grad_(requires_grad=False)
    return guide, hashlib.sha256(content).hexdigest()
