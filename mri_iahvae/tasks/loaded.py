"""A model that is ready to run, and where it came from."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE


@dataclass(frozen=True)
class LoadedModel:
    """A model with its name and the SHA-256 of its weights, for the record."""

    model: IAHVAE
    name: str
    sha256: str

    @classmethod
    def load(cls, checkpoint: str, device: torch.device) -> "LoadedModel":
        """Load a shipped model by name or a checkpoint folder by path (`model.checkpoint.load_model`)."""
        model, digest = load_model(checkpoint, device)
        return cls(model, Path(checkpoint).name, digest)
