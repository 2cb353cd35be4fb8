"""The end of a training: what inference must know of a model is measured on held-out slices, and stored with it."""

from pathlib import Path
from typing import Any

import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.coarse_file import save_coarse
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.augment import augmented
from mri_iahvae.training.coarse_prior import fit_coarse_prior
from mri_iahvae.training.guide_error import FITTED, calibrate_error, fit_error
from mri_iahvae.training.intervals import calibrate_intervals
from mri_iahvae.training.slices import CachedSlices, SliceSource, step_seed

_DRAWN = 512  # slices: limits are their outermost hundredth and two-hundredth
_DRAWS = 8  # at most of each slice: more would be the same few slices over and over


def calibrate_and_save(
    model: IAHVAE,
    guide: Guide | None,
    folder: Path,
    training: dict[str, Any],
    held_out: SliceSource,
    description: str,
    device: torch.device,
    *,
    slices: SliceSource | None = None,
    seen: int = 0,
    seed: int = 0,
    half: bool = False,
) -> None:
    """Fit the coarse prior, measure the domain and the errors of the guide, and write the checkpoint.

    Model and guide are left on `device`, their weights rounded when they are stored in half precision. The coarse prior
    is fitted to the `slices` of the training, and so are the heads of the guide's error if the guide was trained
    (on `seen` measurements); else they are only calibrated. The other arguments are those of `measure_domain` and
    `save_model`.

    Raises:
        IahvaeError: the folder cannot be written to.
    """
    if half:  # what is measured holds for what is stored
        model = model.half().float()
        model.set_config(model.config)  # buffers stay exact
    if guide is not None:
        guide = guide.half().float().eval() if half else guide.eval()
        if slices is None or not seen:
            calibrate_error(guide, held_out, device, seed)
        else:
            fit_error(guide, slices, held_out, device, seed, count=min(FITTED, seen))
        save_guide(guide, folder, training, half=half)
        calibrate_intervals(folder, held_out, device, seed)
    if slices is not None and model.encoder.causal:  # others cannot go on from a block
        save_coarse(fit_coarse_prior(CachedSlices(slices), model.size, seed), folder)
    domain = measure_domain(model, held_out, description, device, seed)
    save_model(model, folder, training, domain=domain, half=half)


def measure_domain(
    model: IAHVAE, held_out: SliceSource, description: str, device: torch.device, seed: int = 0
) -> Domain | None:
    """What a trained model, left on `device`, knows: measured under the training's augmentation.

    Held-out slices are fully sampled, at least as large as the grid, and the model was not trained on them. The
    description is of anatomy and contrasts, in words.

    Returns:
        The domain; None for an encoder that is not scale-causal, for which the statistic is not defined, and where
        all slices are zero-signal.
    """
    if not model.encoder.causal:
        return None
    model = model.to(device)
    slices, generator = CachedSlices(held_out), torch.Generator(device).manual_seed(step_seed(seed, 0, 2))
    count = min(_DRAWN, _DRAWS * len(slices))
    kspace = crop(torch.cat(list(augmented(slices, count, generator))), model.size)
    kspace = kspace[kspace.ne(0).any(dim=2).any(dim=1)]
    return Domain.measure(model, kspace, description) if len(kspace) > 1 else None
