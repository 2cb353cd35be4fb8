"""A model that is ready to run, and where it came from."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.files import name_as_text
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.checkpoint_config import find_checkpoint, unfinished
from mri_iahvae.model.coarse_file import load_coarse
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.config import COUPLES
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.interval_file import Intervals, load_intervals


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run.

    Attributes:
        model: on its device.
        name: for the record: of a shipped model, or of the checkpoint's folder.
        sha256: of its weights, for the record.
        guide: on the same device; None where the checkpoint has none.
        guide_sha256: of its file, for the record.
        coarse: prior of block B_8; None where the checkpoint has none.
        coarse_sha256: of its file, for the record.
        domain: what it was trained on; None where the checkpoint does not say.
        intervals: about its reconstructions; None where the checkpoint has none for its guide.
        warnings: one sentence each, such as that training had not ended.
    """

    model: IAHVAE
    name: str
    sha256: str
    guide: Guide | None = None
    guide_sha256: str | None = None
    coarse: CoarsePrior | None = None
    coarse_sha256: str | None = None
    domain: Domain | None = None
    intervals: Intervals | None = None
    warnings: tuple[str, ...] = ()

    @property
    def parts_sha256(self) -> dict[str, str]:
        """`guide_sha256` and `coarse_sha256`, of what there is."""
        found = {"guide_sha256": self.guide_sha256, "coarse_sha256": self.coarse_sha256}
        return {name: digest for name, digest in found.items() if digest is not None}

    @classmethod
    def load(cls, checkpoint: str | Path, device: torch.device) -> "LoadedModel":
        """Load a shipped model by name or a checkpoint folder by path (`model.checkpoint.load_model`).

        Raises:
            UsageError: a mask couples the model's scales, which only `inference.joint` can infer; or as `load_model`.
            CheckpointError: as `load_model`.
        """
        model, digest = load_model(checkpoint, device)
        if COUPLES[model.config.decomposition]:
            raise UsageError(
                f"--checkpoint {checkpoint}: expected a model whose scales are bands of k-space, found "
                f"{model.config.decomposition}, which a mask couples; infer with mri_iahvae.inference.joint"
            )
        doubt = unfinished(find_checkpoint(checkpoint))
        warnings = [doubt] if doubt else []
        guide, guide_digest = load_guide(checkpoint, device) or (None, None)
        coarse, coarse_digest = load_coarse(checkpoint) or (None, None)
        name, domain = name_as_text(Path(checkpoint)), load_domain(checkpoint)
        intervals = load_intervals(checkpoint)
        if intervals is not None and intervals.guide_sha256 != guide_digest:
            warnings.append(f"{name}: the intervals are of another guide, and left out; calibrate them again")
            intervals = None
        return cls(
            model,
            name,
            digest,
            guide,
            guide_digest,
            coarse,
            coarse_digest,
            domain,
            intervals,
            tuple(warnings),
        )
