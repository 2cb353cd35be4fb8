"""A model that is ready to run, and where it came from."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mri_iahvae.files import name_as_text
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.checkpoint_config import find_checkpoint, unfinished
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE


@dataclass(frozen=True)
class LoadedModel:
    """A model, its name and the SHA-256 of its weights for the record, what it knows where it says so, and what speaks
    against its use, one sentence each.
    """

    model: IAHVAE
    name: str
    sha256: str
    domain: Domain | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, checkpoint: str | Path, device: torch.device) -> "LoadedModel":
        """Load a shipped model by name or a checkpoint folder by path (`model.checkpoint.load_model`)."""
        model, digest = load_model(checkpoint, device)
        doubt = unfinished(find_checkpoint(checkpoint))
        warnings = (doubt,) if doubt else ()
        return cls(model, name_as_text(Path(checkpoint)), digest, load_domain(checkpoint), warnings)
