"""Samples of the prior: arrays, or files with figures."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import IahvaeError, ScanError, UsageError
from mri_iahvae.files import make_folder
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.prior import sample_prior
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop, embed, scales
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.coarse_file import load_coarse
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.batches import make_batches
from mri_iahvae.pipeline.devices import find_device
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.results.figures import grid_figure, plain_text, sheet_figure
from mri_iahvae.results.hdf5 import result_file
from mri_iahvae.results.paths import remove
from mri_iahvae.results.provenance import provenance
from mri_iahvae.scans.safety.hdf5 import guarded_file

ON_SHEET = 64
"""Most samples on the sheet."""

ON_PROGRESSION = 8
"""Most samples on the figure of the progression."""


def sample(
    count: int = 1,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    checkpoint: str | Path = "small",
    device: str = "auto",
    batch: int | None = None,
) -> NDArray[np.complex64]:
    """Draw images from the prior (Python API).

    Args:
        count: how many.
        temperature: factor on the standard deviation of all latents; 0 gives the prior mean.
        seed: of the draws. Sample k depends on the seed and k alone, not on `count` or `batch`; on other devices it is
            the same up to rounding.
        checkpoint: name of a shipped model, or folder of a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch: samples at a time, halved when memory runs out; None: what suits the device.

    Returns:
        complex64 (count, N, N), images in canonical units: a mean pixel power of about 1.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
        IahvaeError: out of memory with one sample at a time, or a temperature at which nothing finite is drawn.
    """
    model, _ = load_model(checkpoint, find_device(device))
    coarse, _ = load_coarse(checkpoint) or (None, "")
    return draw(model, count, temperature=temperature, seed=seed, coarse=coarse, batch=batch)


def draw(
    model: IAHVAE,
    count: int,
    *,
    temperature: float,
    seed: int,
    coarse: CoarsePrior | None = None,
    batch: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.complex64]:
    """`sample` with a model that is loaded already; `progress` is called with the number of samples just finished."""
    if count < 1 or (batch is not None and batch < 1):
        raise UsageError(f"{count} samples, {batch} at a time: expected at least one")
    InferenceSettings(temperature=temperature, seed=seed)  # refuses what cannot be
    device = model.gains.device
    images = np.empty((count, model.size, model.size), np.complex64)

    def work(rng: slice) -> None:
        # Each is the first sample of a slice of its own: the second one of a slice is the mirror image of the first.
        elements = tuple(Element(number, 0) for number in range(count)[rng])
        draws = Draws(seed, temperature, elements, device)
        images[rng] = ifft2c(sample_prior(model, draws, coarse)).cpu().numpy()
        progress(len(elements))

    make_batches(batch, device).run(work, count)
    if not np.isfinite(images).all():
        raise IahvaeError(
            f"temperature {temperature:g}: the samples hold NaN or infinity; choose a lower one"
        )
    return images


def progression(image: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """An image (N, N) summed up to each scale, (scales, N, N): inverse FFTs of blocks B_1 ... B_N of its k-space."""
    kspace = fft2c(torch.from_numpy(image))
    size = kspace.shape[-1]
    return ifft2c(torch.stack([embed(crop(kspace, s), size) for s in scales(size)])).numpy()


def sample_to_folder(
    loaded: LoadedModel,
    folder: Path,
    count: int,
    *,
    temperature: float,
    seed: int,
    with_progression: bool = False,
    batch: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Draw images from the prior into a folder, which is made; arguments as in `draw`.

    Files of the same names are replaced, and an earlier run's progression goes. With the progression, the image summed
    up to each scale is stored and drawn too.

    Returns:
        The files: `samples.png`, magnitudes of the first `ON_SHEET`; where asked for `progression.png`, of the
        first `ON_PROGRESSION`; and `samples.h5`, written last.
    """
    make_folder(folder)
    model = loaded.model
    images = draw(
        model, count, temperature=temperature, seed=seed, coarse=loaded.coarse, batch=batch, progress=progress
    )
    title = f"{plain_text(loaded.name)}: samples of the prior at temperature {temperature:g}, seed {seed}"
    sheet, rows, data = (folder / name for name in ("samples.png", "progression.png", "samples.h5"))
    shown = {str(number): np.abs(image) for number, image in enumerate(images[:ON_SHEET])}
    sheet_figure(sheet, shown, title)
    written = [sheet]
    if with_progression:
        stacks = [list(np.abs(progression(image))) for image in images[:ON_PROGRESSION]]
        columns = [f"up to {s}x{s}" for s in scales(model.size)]
        caption = f"{title}; each column in a grey window of its own"
        grid_figure(rows, stacks, columns, caption, by_column=True)
        written.append(rows)
    earlier = _progression_of(data, rows) - set(written)
    attributes = {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        **({} if loaded.coarse_sha256 is None else {"coarse_sha256": loaded.coarse_sha256}),
        "grid": model.size,
        "scales": np.array(scales(model.size)),
        "temperature": temperature,
        "seed": seed,
        **provenance(model.gains.device),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with result_file(data, count) as file:
        for image in images:
            arrays = {"progression": progression(image)[None]} if with_progression else {}
            file.append(samples=image[None], **arrays)
        file.finish(attributes)
    remove(earlier)
    return [*written, data]


def _progression_of(samples: Path, figure: Path) -> set[Path]:
    """The figure of the progression, if an earlier run drew it: its samples are there, and hold one."""
    try:
        with guarded_file(samples) as file:
            return {figure} if "progression" in file else set()
    except ScanError:
        return set()
