"""Whether slices lie within what the model knows: their image, and what was completed, the noise and the phase."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.kspace.bands import recentre
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.volume_warnings import numbered

Aspect = Literal["completed", "noise", "phase"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
"""What is judged beside the image of a slice."""

# One in a hundred slices of the domain lies outside by the definition of its limit, and strange slices come together.
_TOLERATED = 0.25
_CLEARLY = 1.5  # a score that no held-back slice has: such a slice is named alone
LIMITS: dict[Aspect, float] = {"completed": 2.0, "noise": 1.5, "phase": 0.1}
_TEXTS: dict[Aspect, str] = {
    "completed": "more was completed than slices of the training data hold there, beside what was measured",
    "noise": "the noise is stronger than in training, over 1.5 times the RMS",
    "phase": "the phase varies more from pixel to pixel than in training",
}
_COARSE = 32  # bins a side, whose image shows the phase
_MOST = 100.0  # of a score


def volume_score(
    model: IAHVAE, domain: Domain | None, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, batches: Batches
) -> NDArray[np.float32]:
    """`Domain.score` of each slice.

    Args:
        model: the model.
        domain: what it knows; None where it does not say.
        kspace: complex64 (slices, H, W).
        mask: bool (slices, H, W).
        noise_sigma: float (slices,).
        batches: how many slices at a time.

    Returns:
        float32 (slices,), above 1 outside; NaN where not defined.
    """
    score = torch.full((len(kspace),), torch.nan)
    if domain is not None:

        def work(rng: slice) -> None:
            parts = recentre(kspace[rng], model.size), recentre(mask[rng], model.size), noise_sigma[rng]
            score[rng] = domain.score(model, *(part.to(model.gains.device) for part in parts)).cpu()

        batches.run(work, len(kspace))
    return score.numpy()


def aspect_scores(
    model: IAHVAE,
    domain: Domain | None,
    measured: Tensor,
    mask: Tensor,
    noise_sigma: Tensor,
    result: Tensor,
) -> NDArray[np.float32]:
    """How far each slice is from training in the other `ASPECTS`, in units of limits: above 1 it lies beyond.

    - "completed": energy of the completed bins of the model's grid over that of the measured ones, over the same of
      the mean power in training. The limit is 2: of LIMITS TEXT.
    - "noise": standard deviation per part over the RMS of the slice without it, an estimate where it is not known. In
      training it was up to 1.5, the limit.
    - "phase": 1 - |sum of x times the conjugate of its neighbour| over the sum of their magnitudes, in the image x of
      the central 32 x 32 bins of the result, along the axis where it is larger. The limit is 0.1: ...

    Args:
        model: the model.
        domain: what it knows; None where it does not say: nothing is defined then.
        measured: complex64 (slices, H, W), zero where not measured.
        mask: bool (slices, H, W).
        noise_sigma: float (slices,), zero where unknown.
        result: complex64 (slices, H, W), the output.

    Returns:
        float32 (slices, 3), at most 100; NaN where not defined.
    """
    if domain is None:
        return np.full((len(result), len(ASPECTS)), np.nan, np.float32)
    known, power = recentre(mask, model.size), model.power.double().cpu()
    energy = recentre(result, model.size).abs().double().square()
    found = _ratio(energy, known) / _ratio(power, known)
    sigma = [
        float(s) or estimate_sigma(one[None].numpy(), where.numpy())
        for s, one, where in zip(noise_sigma, measured, mask, strict=True)
    ]
    noise = torch.tensor(sigma, dtype=torch.float64).square()
    total = measured.abs().double().square().mean(dim=(1, 2))
    clean = total - 2 * noise * mask.double().mean(dim=(1, 2))
    loudness = (noise / clean.clamp_min(1e-30 * total)).sqrt()
    image = ifft2c(recentre(result, _COARSE))
    rough = torch.stack([_roughness(image, axis) for axis in (1, 2)]).amax(dim=0)
    limits = torch.tensor([LIMITS[aspect] for aspect in ASPECTS])
    scores = torch.stack([part.float() for part in (found, loudness, rough)], dim=1) / limits
    return torch.where(total[:, None] > 0, scores.clamp_max(_MOST), torch.nan).numpy()


def _ratio(energy: Tensor, known: Tensor) -> Tensor:
    """Energy at other bins over that at known ones; NaN where there are none of either."""
    return (energy * ~known).sum(dim=(1, 2)) / (energy * known).sum(dim=(1, 2))


def _roughness(image: Tensor, axis: int) -> Tensor:
    pairs = image.narrow(axis, 1, image.shape[axis] - 1) * image.narrow(axis, 0, image.shape[axis] - 1).conj()
    return 1 - pairs.sum(dim=(1, 2)).abs() / pairs.abs().sum(dim=(1, 2))


def domain_warnings(score: NDArray[np.float32], domain: Domain | None) -> tuple[str, ...]:
    """One sentence where more than a quarter of the slices lie outside, or some lie clearly outside.

    Args:
        score: as `volume_score` gives it.
        domain: what the model knows.
    """
    outside = score > 1
    if outside.sum() <= _TOLERATED * np.count_nonzero(~np.isnan(score)):
        outside = score > _CLEARLY
    if domain is None or not outside.any():
        return ()
    verb = "is" if outside.sum() == 1 else "are"
    return (
        f"{numbered(outside)} {verb} unlike the training data ({domain.description}): "
        "do not trust what the model adds",
    )


def aspect_warnings(scores: NDArray[np.float32]) -> tuple[str, ...]:
    """One sentence for each of the `ASPECTS` in which any slice lies beyond training; scores of `aspect_scores`."""
    found = zip(_TEXTS.values(), (scores > 1).T, strict=True)
    return tuple(f"{numbered(beyond)}: {text}" for text, beyond in found if beyond.any())
