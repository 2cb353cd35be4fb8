"""A model that is ready to run, and where it came from."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE


@dataclass(frozen=True)
class LoadedModel:
    """A model, its name and the SHA-256 of its weights for the record, and what it knows where it says so."""

    model: IAHVAE
    name: str
    sha256: str
    domain: Domain | None = None

    @classmethod
    def load(cls, checkpoint: str | Path, device: torch.device) -> "LoadedModel":
        """Load a shipped model by name or a checkpoint folder by path (`model.checkpoint.load_model`)."""
        model, digest = load_model(checkpoint, device)
        return cls(model, Path(checkpoint).name, digest, load_domain(checkpoint))
