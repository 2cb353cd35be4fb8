"""Model checkpoints: `model.safetensors` and `config.json` in one folder. Nothing is pickled."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mri_iahvae.errors import CheckpointError
from mri_iahvae.model.checkpoint_config import FORMAT, find_checkpoint, model_config, read_config
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE


def save_model(
    model: IAHVAE,
    folder: Path,
    training: dict[str, Any],
    *,
    domain: Domain | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint; each file is written beside and renamed, the configuration last.

    Args:
        model: weights and configuration.
        folder: made when missing.
        training: plain JSON values about the training (data, settings, steps), for the record.
        domain: what the model knows; without it, it cannot warn of strange scans.
        half: store weights in half precision, to ship them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    weights = {key: value.detach().cpu().to(dtype).contiguous() for key, value in model.state_dict().items()}
    part = folder / "model.safetensors.part"
    save_file(weights, part)
    config = {
        "format": FORMAT,
        "sha256": _sha256(part),
        "model": model.config.to_json(),
        "training": training,
    }
    if domain is not None:
        config["domain"] = domain.to_json()
    _replace(part, folder / "model.safetensors")
    _write_config(folder, config)


def load_model(checkpoint: str | Path, device: torch.device | None = None) -> tuple[IAHVAE, str]:
    """Load a checkpoint for inference.

    Args:
        checkpoint: name of a shipped model, or a folder with `model.safetensors` and `config.json`.
        device: where the model shall be; CPU by default.

    Returns:
        The model (float32, no gradients for its weights) and the SHA-256 of its weights file.

    Raises:
        UsageError: no such model or folder.
        CheckpointError: the folder does not hold a checkpoint that this version can read.
    """
    folder = find_checkpoint(checkpoint)
    config = read_config(folder)
    weights_path = folder / "model.safetensors"
    try:
        digest = _sha256(weights_path)
        if digest != config["sha256"]:
            raise CheckpointError(
                f"{weights_path}: its SHA-256 is not the one that config.json states; copy both files again"
            )
        weights = load_file(weights_path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights_path}: cannot be read as safetensors ({error})") from None
    model = IAHVAE(model_config(folder))
    try:
        model.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError:
        raise CheckpointError(f"{weights_path}: its tensors do not fit the model in config.json") from None
    return model.to(device or torch.device("cpu")).eval().requires_grad_(requires_grad=False), digest


def load_domain(checkpoint: str | Path) -> Domain | None:
    """What the model of a checkpoint knows; None where the checkpoint does not say.

    Raises:
        UsageError, CheckpointError: as `load_model`.
    """
    folder = find_checkpoint(checkpoint)
    config = read_config(folder)
    if "domain" not in config:
        return None
    try:
        return Domain.from_json(config["domain"])
    except CheckpointError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from None


def store_domain(folder: Path, domain: Domain) -> None:
    """Add a domain to a checkpoint, or replace it; the weights, and so their SHA-256, stay as they are.

    Raises:
        CheckpointError: the folder does not hold a checkpoint that this version can read.
    """
    _write_config(folder, {**read_config(folder), "domain": domain.to_json()})


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    part = folder / "config.json.part"
    part.write_text(json.dumps(config, indent=1) + "\n")
    _replace(part, folder / "config.json")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replace(part: Path, target: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
