"""Which column of k-space to measure next: the one after which least error is expected (greedy experimental design).

The error of the guide's estimate is Gaussian (`model.estimate`), so the error that is left once a column is measured
does not depend on what the measurement gives: a whole order of columns follows from one estimate. Sanchez et al. (arXiv
1912.11365) and Bakker et al. (arXiv 2010.16262) choose greedily too, from samples and by a learnt policy.

Measuring columns separates the rows of the image: the inverse FFT of a measured column along its rows gives, at each
row y, bin kx of a transform along the row alone. At each row there is one Gaussian of 2 W real numbers, real and
imaginary parts of the W bins, and conditioning on a column is exact there. See docs/method/plan.md.
"""

import torch
from torch import Tensor

from mri_iahvae.model.estimate import Estimate

_ROWS = 128
"""Rows of all slices together whose Gaussians are held, but one of each slice at least; they are taken evenly."""
_MOST_ROWS = 16
"""Of one slice."""
_WIDTH = 0.35
"""Of the kernel that smooths variances over columns, in octaves: the guide's jump from octave to octave."""
_RIDGE = 1e-6
"""Variance of a measurement, over the mean variance of a column: columns are measured nearly without noise."""


class ColumnErrors:
    """The expected error of the columns of some slices that have one mask, given what was measured so far.

    Args:
        estimate: of all bins, by the guide.
        mask: bool (W,), the columns that it was made from, and not all.

    Attributes:
        mask: bool (W,), the columns that are measured by now.
    """

    def __init__(self, estimate: Estimate, mask: Tensor) -> None:
        slices, height, _ = estimate.variance.shape
        count = min(_MOST_ROWS, height, max(1, _ROWS // slices))
        rows = (torch.arange(count) + 0.5).mul(height / count).long()
        variance = column_variances(estimate, mask).double()  # many columns are nearly known from others
        spread, phase = estimate.spread[:, :, rows].double(), estimate.phase()[:, rows]
        self._covariance = row_covariances(variance, spread, phase).flatten(0, 1)
        self._ridge = _RIDGE * float(variance.mean())
        self.mask = torch.zeros_like(mask)
        for column in mask.nonzero().flatten().tolist():
            self.measure(column)
        # The guide's variance is what is left after measuring: conditioning says how it lies, and not how large it is.
        expected = 2 * torch.where(mask, 0, estimate.variance).double().sum()
        self._scale = float(expected / self._left().sum())

    def expected(self) -> float:
        """The expected squared error of all slices that is left: a sum over bins."""
        return self._scale * float(self._left().sum())

    def gains(self) -> Tensor:
        """By how much measuring each column lowers `expected`, float (W,); zero for measured ones.

        Of columns a, b (real and imaginary part) of the covariance K and S = K[ab, ab] + the ridge, it is the trace of
        K[:, ab] S^-1 K[ab, :].
        """
        real, imaginary = self._covariance.chunk(2, dim=2)
        rr, ri, ii = (real * real).sum(1), (real * imaginary).sum(1), (imaginary * imaginary).sum(1)
        of_real, of_imaginary = (self._covariance.diagonal(dim1=1, dim2=2) + self._ridge).chunk(2, dim=1)
        width = self.mask.shape[0]
        between = self._covariance[:, :width, width:].diagonal(dim1=1, dim2=2)
        determinant = of_real * of_imaginary - between.square()
        gain = (of_imaginary * rr - 2 * between * ri + of_real * ii) / determinant
        return torch.where(self.mask, 0.0, self._scale * gain.sum(0))

    def measure(self, column: int) -> None:
        """Condition on a column, whatever its values are."""
        both = [column, column + self.mask.shape[0]]
        part = self._covariance[:, :, both]
        inner = part[:, both] + self._ridge * torch.eye(2, dtype=torch.float64)
        self._covariance -= part @ torch.linalg.solve(inner, part.transpose(1, 2))
        self.mask[column] = True

    def _left(self) -> Tensor:
        """Sums of variances of each unmeasured column, in the scale of the covariance: float (W,)."""
        both = self._covariance.diagonal(dim1=1, dim2=2).sum(0)
        return torch.where(self.mask, 0.0, both[: len(self.mask)] + both[len(self.mask) :])


def choose(errors: ColumnErrors, candidates: Tensor, count: int) -> tuple[list[int], list[float]]:
    """The columns to measure, one after the other, and the expected error after each.

    Args:
        errors: of what was measured; the chosen columns count as measured afterwards.
        candidates: bool (W,), columns that may be measured; at least `count` of them are not measured yet.
        count: how many to choose.
    """
    order, expected = [], []
    for _ in range(count):
        column = int(errors.gains().masked_fill(~candidates | errors.mask, -torch.inf).argmax())
        errors.measure(column)
        order.append(column)
        expected.append(errors.expected())
    return order, expected


def column_variances(estimate: Estimate, mask: Tensor) -> Tensor:
    """Variance of each part of a bin as if no column had been measured, smooth over columns: float (B, W).

    Of the mean over the rows of missing columns, the logarithm is averaged over columns of nearly the same frequency.
    So measured columns get one too, and the guide's octaves, each with one variance, make no steps.
    """
    width = mask.shape[0]
    octave = ((torch.arange(width) - width // 2).abs() + 1).log2()
    missing = (~mask).nonzero().flatten()
    near = torch.softmax(-((octave[:, None] - octave[missing]) / _WIDTH).square() / 2, dim=1)
    level = estimate.variance[:, :, missing].mean(dim=1).clamp_min(torch.finfo(torch.float32).tiny).log()
    return (level @ near.T).exp()


def row_covariances(variance: Tensor, spread: Tensor, phase: Tensor) -> Tensor:
    """Covariance of the error at rows of the image, in k-space along the row.

    The error of pixel x is phase(x) (a w1 + i b w2), with the spread (a, b) and white noise w of deviation 1; its
    unitary FFT e along the row is multiplied by the root of the variance. With F the FFT over W,

        E[e(k) conj e(k')] = F[a^2 + b^2](k - k')       E[e(k) e(k')] = F[phase^2 (a^2 - b^2)](k + k')

    The second one says that bins k and -k know of each other where the phase is smooth and the error in phase with it.

    Args:
        variance: float (B, W).
        spread: float (B, 2, R, W).
        phase: complex (B, R, W), of magnitude 1.

    Returns:
        float (B, R, 2 W, 2 W), of the real parts of the bins and, after them, the imaginary ones.
    """
    width = variance.shape[1]
    centred = torch.arange(width) - width // 2
    in_phase, quadrature = spread.square().unbind(1)
    deviation = variance.sqrt()[:, None]
    scale = deviation[..., :, None] * deviation[..., None, :]
    proper = _fft(in_phase + quadrature + 0j)[..., (centred[:, None] - centred) % width] * scale
    pseudo = _fft(phase.square() * (in_phase - quadrature))[..., (centred[:, None] + centred) % width] * scale
    upper = torch.cat([(proper + pseudo).real, (pseudo - proper).imag], dim=-1)
    lower = torch.cat([(proper + pseudo).imag, (proper - pseudo).real], dim=-1)
    return torch.cat([upper, lower], dim=-2) / 2


def _fft(line: Tensor) -> Tensor:
    return torch.fft.fft(torch.fft.ifftshift(line, dim=-1), dim=-1) / line.shape[-1]
