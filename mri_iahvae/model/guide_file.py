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
from mri_iahvae.model.checkpoint_config import find_checkpoint
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig

NAME = "guide.safetensors"


def save_guide(guide: Guide, folder: Path, training: dict[str, Any], *, half: bool = False) -> None:
    """Write the guide of a checkpoint; an interrupted write leaves what was there.

    Args:
        guide: weights and configuration.
        folder: made when missing.
        training: plain JSON values about the training, for the record.
        half: store weights in half precision, to ship them.

    Raises:
        IahvaeError: the folder cannot be written to.
    """
    dtype = torch.float16 if half else torch.float32
    weights = {key: value.detach().cpu().to(dtype).contiguous() for key, value in guide.state_dict().items()}
    header = {"guide": json.dumps({"config": guide.config.to_json(), "training": training})}
    with atomic_path(folder / NAME) as part:
        part.write_bytes(save(weights, header))


def load_guide(checkpoint: str | Path, device: torch.device | None = None) -> tuple[Guide, str] | None:
    """Load the guide of a checkpoint for inference.

    Args:
        checkpoint: name of a shipped model, or a folder.
        device: where the guide shall be; CPU by default.

    Returns:
        The guide (float32, no gradients for its weights) and the SHA-256 of its file; None where there is none.

    Raises:
        UsageError: no such model or folder.
        CheckpointError: the file cannot be read as a guide.
    """
    path = find_checkpoint(checkpoint) / NAME
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        guide = Guide(GuideConfig.from_json(_header(path)["config"]))
        weights = load(content)
        if not all(value.is_floating_point() and bool(value.isfinite().all()) for value in weights.values()):
            raise ValueError("weights that are not finite real numbers")
        guide.load_state_dict({key: value.float() for key, value in weights.items()})
    except (
        OSError,
        SafetensorError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a guide ({reason(error)}); copy the file again"
        ) from None
    guide = guide.to(device or torch.device("cpu")).eval().requires_grad_(requires_grad=False)
    return guide, hashlib.sha256(content).hexdigest()


def _header(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["guide"])
