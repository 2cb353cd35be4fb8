"""The two sets of small images: OMNIGLOT at 28 x 28, black and white, and CIFAR-10 as JPEG files."""

import io
import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.neighbours.dvp_vae.hvae import Likelihood, bernoulli, logistic
from benchmarks.neighbours.ia_vae import omniglot
from mri_iahvae.errors import unusable


class Data(NamedTuple):
    """Images, and how they are described.

    Attributes:
        training: uint8 (n, C, N, N).
        held_out: uint8 (m, C, N, N), they score.
        likelihood: of images.
        parameters: of the likelihood for each channel of a pixel.
        start: of the head's bias.
        block: side of the pseudo-input's block, as in the paper's code.
    """

    training: Tensor
    held_out: Tensor
    likelihood: Likelihood
    parameters: int
    start: float
    block: int

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and side."""
        return self.training.shape[1], self.training.shape[-1]


def read_omniglot(path: Path) -> Data:
    """A pixel is white above half of full scale.

    Raises:
        ScanError: it is no npz file with images of 28 x 28.
    """
    training, held_out = ((part * 255).byte() for part in omniglot.load(path))
    white = float(training.float().mean()) / 255
    return Data(training, held_out, bernoulli, parameters=1, start=math.log(white / (1 - white)), block=5)


def read_cifar10(training: Path, test: Path, count: int) -> Data:
    """The training images, and the first `count` of the test images.

    Raises:
        ScanError: one is no npz file with JPEG files of 32 x 32 colour images.
    """
    return Data(decode(training), decode(test, count), logistic, parameters=2, start=0.0, block=7)


def decode(path: Path, count: int | None = None) -> Tensor:
    """All images of a file, or the first `count`, uint8 (n, 3, 32, 32).

    `jpeg` holds all JPEG files, one after the other, and `offset` where each begins and the last ends.

    Raises:
        ScanError: it is no such file.
    """
    try:
        with np.load(path) as archive:
            files, offset = archive["jpeg"].tobytes(), archive["offset"].tolist()[: count and count + 1]
        images = [np.asarray(Image.open(io.BytesIO(files[begin:end]))) for begin, end in pairwise(offset)]
    except (OSError, ValueError, KeyError) as error:
        raise unusable(path, "an npz file with `jpeg` and `offset`", error, "choose another file") from error
    shapes = {image.shape for image in images}
    if shapes != {(32, 32, 3)}:
        raise unusable(path, "colour images of 32 x 32", f"shapes {shapes}", "choose another file")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
