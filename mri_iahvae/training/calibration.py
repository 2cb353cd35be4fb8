"""The end of a training: what inference must know of a model is measured on held-out slices, and stored with it."""

from pathlib import Path
from typing import Any

import torch

from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.domain import measure_domain
from mri_iahvae.training.guide_error import FITTED, calibrate_error, fit_error
from mri_iahvae.training.slices import SliceSource


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
    """Measure the domain and the errors of the guide, and write the checkpoint.

    Args:
        model: trained; it is left on `device`, its weights rounded when they are stored in half precision.
        guide: likewise; None for a model without one.
        folder: of the checkpoint.
        training: plain JSON values about the training, for the record.
        held_out: fully sampled slices that the model was not trained on, at least as large as its grid.
        description: anatomy and contrasts of the slices, in words.
        device: to compute on.
        slices: that the guide was trained on, to fit its heads of the error; None: they are only calibrated.
        seen: how many measurements it was trained on.
        seed: of everything drawn.
        half: store the weights in half precision, to ship them.

    Raises:
        IahvaeError: the folder cannot be written to.
    """
    if half:  # what is measured holds for what is stored
        model = model.half().float()
        model.set_config(model.config)  # buffers stay exact
    if guide is not None:
        guide = guide.half().float().eval() if half else guide.eval()
        if slices is None:
            calibrate_error(guide, held_out, device, seed)
        else:
            fit_error(guide, slices, held_out, device, seed, min(FITTED, seen))
        save_guide(guide, folder, training, half=half)
    domain = measure_domain(model, held_out, description, device, seed)
    save_model(model, folder, training, domain=domain, half=half)
