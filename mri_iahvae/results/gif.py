"""Animated GIFs: a slice from coarse to fine, as each scale of k-space adds to it; and a series in time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mri_iahvae.files import atomic_path
from mri_iahvae.kspace.bands import block_mask, scales
from mri_iahvae.kspace.fft import ifft2c

FRAME_MS = 600
LAST_FRAME_MS = 2400
"""How long the frames stay, the last one longer."""

CINE_MS = 150
"""How long those of a series stay."""

_SMALLEST = 256  # frames are enlarged by a whole factor to at least this many rows
_LABEL_ROWS = 14


def scale_gif(
    path: Path,
    kspace: NDArray[np.complexfloating],
    size: int,
    *,
    crop: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda image: image,
) -> None:
    """Write the image of k-space up to block B_1, B_2 ... B_N, then that of all bins, each with a label.

    All frames have the same grey window, from 0 to the maximum of the last one; slices stand side by side, each in
    its own window.

    Args:
        path: GIF file to write; it repeats for ever.
        kspace: complex (H, W), or (slices, H, W), in the field of view of the model's grid (readout oversampling
            removed).
        size: N, side of the model's grid. Where the grid holds all bins, the last scale is the last frame.
        crop: from a magnitude image (H, W) to what is shown of it.
    """
    height, width = kspace.shape[-2:]
    bins = torch.from_numpy(np.asarray(kspace, np.complex64)).reshape(-1, height, width)
    coarse = [s for s in scales(size) if s < max(height, width)]
    blocks = {f"{s}x{s}": block_mask(s, height, width) for s in coarse}
    blocks[f"{height}x{width}"] = torch.ones(height, width, dtype=torch.bool)
    images = {
        label: [crop(image) for image in ifft2c(bins * block).abs().numpy()]
        for label, block in blocks.items()
    }
    white = [float(image.max()) or 1.0 for image in images[f"{height}x{width}"]]
    frames = [
        _frame(label, np.hstack([image / peak for image, peak in zip(row, white, strict=True)]))
        for label, row in images.items()
    ]
    _save(path, frames, [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS])


def cine_gif(path: Path, images: Mapping[str, NDArray[np.floating]], white: float) -> None:
    """Write a series as an animation, its images side by side in one grey window, from 0 to `white`.

    Args:
        path: GIF file to write; it repeats for ever.
        images: (frames, H, W) by their names, which stand above with the number of the frame.
        white: a positive number.
    """
    names = ", ".join(images)
    frames = [
        _frame(f"{number}: {names}", np.hstack([image / white for image in row]))
        for number, row in enumerate(zip(*images.values(), strict=True))
    ]
    _save(path, frames, [CINE_MS] * len(frames))


def _save(path: Path, frames: Sequence[Image.Image], durations: Sequence[int]) -> None:
    with atomic_path(path) as part:
        frames[0].save(
            part, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )


def _frame(label: str, image: NDArray[np.floating]) -> Image.Image:
    """Grey values of an image between 0 and 1, enlarged, with its label in a black strip above."""
    factor = max(1, -(-_SMALLEST // len(image)))
    grey = np.rint(255 * image.clip(0, 1)).astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
    strip = Image.new("L", (grey.shape[1], _LABEL_ROWS))
    ImageDraw.Draw(strip).text((3, 1), label, fill=255, font=ImageFont.load_default())
    return Image.fromarray(np.vstack([np.asarray(strip), grey]))
