"""Whether slices lie within what the model knows: their image, and what was completed, the noise and the phase."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.kspace.bands import crop, recentre
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.model.domain import JUDGED, Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.batches import Batches

Aspect = Literal["completed", "noise", "phase"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
"""What is judged beside the image of a slice."""

# One in a hundred slices of the domain lies outside by the definition of its limit, and strange slices come together.
_TOLERATED = 0.25
_CLEARLY = 1.25  # a slice is named alone: held-back and reporting slices reach 1.03
LIMITS: dict[Aspect, float] = {"completed": 0.5, "noise": 1.6, "phase": 0.15}
_TEXTS: dict[Aspect, str] = {
    "completed": "most of the output's energy was completed, not measured, more than in training",
    "noise": "the noise is stronger than in training, over 1.5 times the RMS of the slice without it",
    "phase": "the phase varies more from pixel to pixel than in training",
}
_COARSE = 32  # bins a side, whose image shows the phase
_MOST = 100.0  # of a score
_TINY = 1e-12
_NAMED = 12  # slices, at most, by their numbers


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
    domain: Domain | None, measured: Tensor, mask: Tensor, noise_sigma: Tensor, result: Tensor
) -> NDArray[np.float32]:
    """How far each slice is from training in the other `ASPECTS`, in units of their limits: above 1 it lies beyond.

    - "completed": fraction of the output's energy in bins that were not measured. Of 200 tasks of training on held-back
      slices 99 % lie below 0.41; accelerations of 4 and 8 and blocks of 8 x 8 and more reach 0.23. The limit is 0.5.
    - "noise": standard deviation per part over the RMS of the slice without it; an estimate where none is stated. In
      training it is up to 1.5. The limit is 1.6, as the RMS is not known exactly.
    - "phase": 1 - cos of how much more the phase differs between neighbours in the image of the central 32 x 32 bins of
      the output than on average: the median by brightness, along the axis where it is larger. It is up to 0.04 in
      held-back slices of smooth phase, and up to 0.11 with the jumps of training; of random phase it is 1. The limit is
      0.15.

    Args:
        domain: what the model knows; None where it does not say: nothing is defined then.
        measured: complex64 (slices, H, W), zero where not measured.
        mask: bool (slices, H, W).
        noise_sigma: float (slices,), zero where unknown.
        result: complex64 (slices, H, W), the output.

    Returns:
        float32 (slices, 3), at most 100; NaN where not defined: of slices without signal, and of the phase where the
        central 4 x 4 bins are not measured as a whole.
    """
    if domain is None:
        return np.full((len(result), len(ASPECTS)), np.nan, np.float32)
    energy = result.abs().double().square()
    completed = (energy * ~mask).sum(dim=(1, 2)) / energy.sum(dim=(1, 2))
    sigma = [
        float(s) or estimate_sigma(one[None].numpy(), where.numpy())
        for s, one, where in zip(noise_sigma, measured, mask, strict=True)
    ]
    noise = torch.tensor(sigma, dtype=torch.float64).square()
    power = measured.abs().double().square().mean(dim=(1, 2))
    clean = power - 2 * noise * mask.double().mean(dim=(1, 2))
    loudness = (noise / clean.clamp_min(_TINY * power)).sqrt()
    image = ifft2c(recentre(result, _COARSE))
    # Products of scanner units could leave float32's range.
    image = image / image.abs().amax(dim=(1, 2), keepdim=True)
    phase = torch.stack([_roughness(image, axis) for axis in (1, 2)]).amax(dim=0)
    phase = torch.where(crop(mask, JUDGED[0]).all(dim=(1, 2)), phase, torch.nan)
    scores = torch.stack([completed.float(), loudness.float(), phase], dim=1) / torch.tensor(
        list(LIMITS.values())
    )
    return torch.where(power[:, None] > 0, scores.clamp_max(_MOST), torch.nan).numpy()


def _roughness(image: Tensor, axis: int) -> Tensor:
    """Median by brightness of 1 - cos of the differences of phase along an axis, less their mean: float (B,)."""
    count = image.shape[axis] - 1
    pairs = (image.narrow(axis, 1, count) * image.narrow(axis, 0, count).conj()).flatten(1)
    turned = pairs * pairs.sum(dim=1, keepdim=True).sgn().conj()
    rough, order = (1 - turned.sgn().real).sort(dim=1)
    half = pairs.abs().gather(1, order).cumsum(dim=1)
    at = (half < half[:, -1:] / 2).sum(dim=1, keepdim=True)
    return rough.gather(1, at.clamp_max(rough.shape[1] - 1))[:, 0]


def domain_warnings(score: NDArray[np.float32], domain: Domain | None) -> tuple[str, ...]:
    """One sentence where two slices and more than a quarter lie outside, or any lies clearly outside (score 1.25).

    Args:
        score: as `volume_score` gives it.
        domain: what the model knows.
    """
    outside = score > 1
    if outside.sum() <= max(1, _TOLERATED * np.count_nonzero(~np.isnan(score))):
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


def numbered(chosen: NDArray[np.bool_]) -> str:
    """Slices by number, or how many they are where they are many."""
    numbers = np.flatnonzero(chosen).tolist()
    if len(numbers) > _NAMED:
        return f"{len(numbers)} of {chosen.size} slices"
    return ("slice " if len(numbers) == 1 else "slices ") + ", ".join(str(i) for i in numbers)
