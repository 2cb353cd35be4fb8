"""The coarse prior of a checkpoint: one file `coarse.safetensors`. Nothing is pickled."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mri_iahvae.errors import CheckpointError, reason
from mri_iahvae.files import atomic_path
from mri_iahvae.model.checkpoint import real
from mri_iahvae.model.checkpoint_config import COARSE, find_checkpoint
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.mixture import Mixture


def save_coarse(prior: CoarsePrior, folder: Path) -> None:
    """Write the coarse prior of a checkpoint in half precision; an interrupted write leaves what was there.

    Of each covariance the lower triangle of its Cholesky factor is stored: rounded, it still is a factor.
    """
    mixture = prior.mixture
    rows, columns = _triangle(mixture.means.shape[1])
    factors = torch.linalg.cholesky(mixture.covariances)[:, rows, columns]
    arrays = {"log_weights": mixture.log_weights, "means": mixture.means, "factors": factors}
    with atomic_path(folder / COARSE) as part:
        part.write_bytes(save({name: values.half() for name, values in arrays.items()}))


def load_coarse(checkpoint: str | Path) -> tuple[CoarsePrior, str] | None:
    """Load the coarse prior of a checkpoint and the SHA-256 of its file; None where there is none.

    Raises:
        UsageError: no such model or folder.
        CheckpointError: the file cannot be read as a coarse prior.
    """
    path = find_checkpoint(checkpoint) / COARSE
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        arrays = {name: real(values).double() for name, values in load(content).items()}
        log_weights, means, stored = (arrays[name] for name in ("log_weights", "means", "factors"))
        (count, width), (rows, columns) = means.shape, _triangle(means.shape[1])
        side = round((width / 2) ** 0.5)
        if 2 * side**2 != width or len(log_weights) != count or stored.shape != (count, len(rows)):
            raise ValueError("arrays of other sizes")
        factors = means.new_zeros(count, width, width)
        factors[:, rows, columns] = stored
        if (factors.diagonal(dim1=1, dim2=2) <= 0).any():
            raise ValueError("a singular covariance")
    except (OSError, SafetensorError, ValueError, LookupError) as error:
        what = f"{path}: cannot be read as a coarse prior ({reason(error)})"
        raise CheckpointError(f"{what}; copy the file again") from None
    mixture = Mixture(log_weights.log_softmax(0), means, factors @ factors.mT)
    return CoarsePrior(mixture), hashlib.sha256(content).hexdigest()


def _triangle(width: int) -> Tensor:
    """Rows and columns of the lower triangle, int64 (2, width (width + 1) / 2)."""
    return torch.tril_indices(width, width)
