"""A series of frames in time: each is predicted from its neighbours, and the prediction joins what was measured of it.

A Kalman filter in k-space whose state is all bins of a frame, with a variance each, runs forward and backward in time
at once; a frame is estimated from both predictions (the two-filter smoother of Fraser and Potter, IEEE Transactions on
Automatic Control 14, 387, 1969). From frame to frame

1. the state is moved onto the guide's estimate of the next frame (`inference.motion`),
2. what motion does not explain, the innovation, is measured at that frame's own bins, and
3. the guide estimates the frame, with the prediction in the data consistency of its steps (`Guide.update`).

Masks may differ from frame to frame: a bin that one frame lacks may have been measured in another.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import choose
from mri_iahvae.inference.guidance import MOST_ADDED, energy
from mri_iahvae.inference.motion import find_displacement, moved
from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.settings import Precision
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.octaves import distances, octaves, ring_means
from mri_iahvae.kspace.symmetry import SYMMETRIES
from mri_iahvae.model.guide import Guide

_SMOOTH = 0.1  # deviation of the window of bins that phase is taken from, over the Nyquist frequency
_ALIKE = 1e-4  # of an octave's power: a smaller residual says nothing of motion


class Belief(NamedTuple):
    """Bins, complex64 (B, H, W), and their variance per part, float (B, H, W); infinite where nothing is known."""

    bins: Tensor
    variance: Tensor


class Frames(NamedTuple):
    """Frames of a series.

    Attributes:
        kspace: complex64 (B, H, W), one unit for all; values at unmeasured bins are ignored.
        mask: bool (B, H, W), true where measured.
        sigma: float (B,), noise per part.
        bins: complex64 (B, H, W), the guide's estimate of each frame alone.
        variance: float (B, H, W), of its error.
    """

    kspace: Tensor
    mask: Tensor
    sigma: Tensor
    bins: Tensor
    variance: Tensor

    def at(self, index: Tensor | slice) -> "Frames":
        """Those of some numbers."""
        return Frames(*(part[index] for part in self))


@torch.no_grad()
def predictions(guide: Guide, frames: Frames, precision: Precision = "auto") -> Belief:
    """What all other frames say of each; nothing of a single one."""
    count = len(frames.kspace)
    unknown = torch.full_like(frames.variance, torch.inf)
    forward, backward = (Belief(torch.zeros_like(frames.bins), unknown.clone()) for _ in range(2))
    ends = frames.at(torch.tensor([0, count - 1]))
    state = Belief(ends.bins, ends.variance)
    for step in range(1, count):
        numbers = step, count - 1 - step
        here = frames.at(torch.tensor(numbers))
        prediction = predict(state, here)
        for direction, number, *found in zip((forward, backward), numbers, *prediction, strict=True):
            direction.bins[number], direction.variance[number] = found
        state = update(guide, here, prediction, precision)
    return fuse(forward, backward)


def predict(state: Belief, frames: Frames) -> Belief:
    """What neighbouring frames say of these: the state, moved, its variance increased by the innovation.

    The innovation of an octave is the mean, over the bins measured now, of the squared residual per part, less what
    state and noise explain of it; infinite where none is measured.
    """
    ring = octaves(frames.mask)
    everywhere = torch.ones_like(frames.mask)
    differ = ring_means(_power(state.bins - frames.bins), everywhere, ring)
    differ = differ + _ALIKE * ring_means(_power(frames.bins), everywhere, ring)
    weight = 1 / (frames.variance + differ.clamp_min(torch.finfo(differ.dtype).tiny)[:, ring])
    # Phase stays in place, where coils and field put it, and magnitude moves.
    phase = _smooth_phase(state.bins)
    image, target = (fft2c(ifft2c(bins) * phase.conj()) for bins in (state.bins, frames.bins))
    bins = fft2c(moved(ifft2c(image), find_displacement(image, target, weight)) * phase)
    excess = _power(bins - frames.kspace) - state.variance - frames.sigma.square()[:, None, None]
    innovation = ring_means(torch.where(excess.isfinite(), excess, 0), frames.mask, ring).clamp_min(0)
    measured = ring_means(frames.mask.float(), everywhere, ring) > 0
    innovation = torch.where(measured, innovation, torch.inf)
    return Belief(bins, state.variance + innovation[:, ring])


@torch.no_grad()
def update(
    guide: Guide, frames: Frames, predicted: Belief, precision: Precision = "auto", symmetries: int = 1
) -> Belief:
    """Frames estimated from their measurement and a prediction.

    The variance is the smaller of the prediction's and the guide's own: what the guide does not know in one frame it
    does not know in the next, so nothing is gained by counting it twice. A frame of which the guide or the prediction
    says nothing keeps the guide's estimate, and so does one that had more energy than the guide may add. Estimates of
    several copies of the measurement, the `symmetries` (`kspace.symmetry`), are averaged.
    """
    bins, mask = torch.zeros_like(frames.bins), frames.mask
    with convolutions(bins.device, precision):
        for one in SYMMETRIES[:symmetries]:
            measured = one.apply(frames.kspace), one.flip(mask), frames.sigma
            found = guide.update(*measured, one.apply(predicted.bins), one.flip(predicted.variance))
            bins = bins + one.undo(found)
    # Exactly, not up to rounding.
    exact = mask & (frames.sigma == 0)[:, None, None]
    bins = torch.where(exact, frames.kspace, bins / symmetries)
    kept = energy(bins) <= (1 + MOST_ADDED) * energy(torch.where(mask, frames.kspace, 0))  # false for NaN
    known = [part.variance.flatten(1).isfinite() for part in (frames, predicted)]
    kept &= known[0].all(1) & known[1].any(1)
    variance = torch.minimum(frames.variance, predicted.variance)
    return Belief(choose(kept, bins, frames.bins), choose(kept, variance, frames.variance))


def fuse(one: Belief, other: Belief) -> Belief:
    """Two predictions, weighted by their precision; the variance is the smaller one, as they have much in common."""
    total = (one.variance + other.variance).clamp_min(torch.finfo(one.variance.dtype).tiny)
    weight = torch.where(one.variance.isfinite(), one.variance / total, 1)
    return Belief(one.bins + weight * (other.bins - one.bins), torch.minimum(one.variance, other.variance))


def _power(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).square().mean(-1)


def _smooth_phase(kspace: Tensor) -> Tensor:
    """Phase factors of the image of the central bins, complex64 (B, H, W); 1 where it is zero."""
    y, x = distances(kspace)
    angle = ifft2c(kspace * torch.exp(-(y.square() + x.square()) / (2 * _SMOOTH**2))).angle()
    return torch.polar(torch.ones_like(angle), angle)
