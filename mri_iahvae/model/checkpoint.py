"""Model checkpoints: `model.safetensors` and `config.json` in one folder. Nothing is pickled."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mri_iahvae.errors import CheckpointError, IahvaeError
from mri_iahvae.files import atomic_path, write_json
from mri_iahvae.model.checkpoint_config import FORMAT, find_checkpoint, model_config, read_config
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE

_WAITING = "model.next.safetensors"
_RENAMED = re.compile(r"\.detail\.")  # in weights of earlier versions


def save_model(
    model: IAHVAE,
    folder: Path,
    training: dict[str, Any],
    *,
    domain: Domain | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint. Whenever that is cut short, the folder holds the old one or the new one.

    New weights wait under another name until the configuration, which knows their hash, has been replaced.

    Args:
        model: weights and configuration.
        folder: made when missing.
        training: plain JSON values about the training (data, settings, steps), for the record.
        domain: what the model knows; without it, it cannot warn of strange scans.
        half: store weights in half precision, to ship them.
    """
    content = save(stored_weights(model, half=half))
    digest = hashlib.sha256(content).hexdigest()
    model_json = model.config.to_json()
    config = {"format": FORMAT, "sha256": digest, "model": model_json, "training": training}
    if domain is not None:
        config["domain"] = domain.to_json()
    with suppress(CheckpointError):  # none yet
        _settle(folder, read_config(folder)["sha256"])
    with atomic_path(folder / _WAITING) as part:
        part.write_bytes(content)
    write_json(folder / "config.json", config)
    _settle(folder, digest)


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
    waiting = folder / _WAITING
    candidates = [path for path in (weights_path, waiting) if path.is_file()] or [weights_path]
    try:
        found = {hashlib.sha256(content).hexdigest(): content for content in map(Path.read_bytes, candidates)}
        digest = str(config["sha256"])
        if digest not in found:
            what = "its SHA-256 is not the one that config.json states"
            raise CheckpointError(f"{weights_path}: {what}; copy both files again")
        weights = load(found[digest])
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights_path}: cannot be read as safetensors ({error})") from None
    model_of = model_config(folder)
    try:
        # Memory is taken for a model that the weights could fill, not for whatever the configuration says.
        if model_of.least_weights > sum(value.numel() for value in weights.values()):
            raise ValueError("too few")
        model = IAHVAE(model_of)
        renamed = {_RENAMED.sub(".super_resolution.", key): value for key, value in weights.items()}
        model.load_state_dict({key: real(value) for key, value in renamed.items()})
    except (RuntimeError, ValueError):
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


def stored_weights(network: nn.Module, *, half: bool) -> dict[str, Tensor]:
    dtype = torch.float16 if half else torch.float32
    return {key: value.detach().cpu().to(dtype).contiguous() for key, value in network.state_dict().items()}


def real(value: Tensor) -> Tensor:
    """A stored tensor in float32; ValueError where it holds other than finite real numbers."""
    if not value.is_floating_point() or not value.isfinite().all():
        raise ValueError("not finite real numbers")
    return value.float()


def _settle(folder: Path, digest: str) -> None:
    """Give waiting weights their name, if they are those that the configuration means."""
    waiting = folder / _WAITING
    try:
        if waiting.is_file() and hashlib.sha256(waiting.read_bytes()).hexdigest() == digest:
            waiting.replace(folder / "model.safetensors")
    except OSError as error:
        raise IahvaeError(f"{folder}: cannot be written: {error.strerror}; choose another folder") from error
