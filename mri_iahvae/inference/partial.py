"""What partly measured and noisy scales need beyond Algorithm 1: imputation, prior precision, joint refinement.

The weights of today were trained without masks and noise, and their prior is over-dispersed at fine scales. An encoder
that knows what was measured will replace all three.

**Imputation**: a scale-causal encoder wants complete scales. Missing bins are imputed: decode, put the measured bins
in, encode, and again, as in Prost et al., arXiv 2303.11217, but per scale, so that it never disturbs coarser scales.

**Prior precision**: samples of the prior of fine scales lie several times further from their mean than slices do. Where
an estimate predicts bins from other bins, or from noise, the prior counts as many times as that was measured to be
(`ModelConfig.dispersion`), at scales with missing bins at least `_MISSING` times.

**Joint refinement**: Algorithm 1 infers a scale from its own bins and coarser ones. A coarse bin that is missing, or
lost in noise, is known better from finer measured ones: an edge that they show goes on in it. So the latents of all
scales move together in the end, contexts and missing bins of a scale being functions of coarser latents,

    J(e) = sum over scales of c_s |e_s|^2 / 2 + sum over measured bins |h_s(e) - y|^2 / (2 (v + n))

Every evaluation runs the whole hierarchy: this is what takes longest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import choose, out_of_bounds
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.measurement import Datum, Measurement
from mri_iahvae.inference.refine import cut, flat, optimise
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop
from mri_iahvae.model.protocols import Encoded, Latents, Model, Scale, Session
from mri_iahvae.model.walk import Walk

_MISSING = 4.0  # least prior precision at scales with missing bins
_JOINT = 2.0  # factor on the prior precision in joint refinement
_LOUD = 0.3  # noise over the slice's RMS from which joint refinement measured better


@dataclass(frozen=True)
class Found:
    """What was inferred of one scale.

    Attributes:
        latents: whitened, of each layer, (B, latent, r, r).
        std: expected standard deviation of each about the most probable value, likewise.
        steps: int64 (B,), refinement steps.
    """

    latents: list[Tensor]
    std: list[Tensor]
    steps: Tensor

    def replaced(self, where: Tensor, other: "Found") -> "Found":
        """With the batch elements of `other` where bool (B,) is true."""
        latents = [choose(where, b, a) for a, b in zip(self.latents, other.latents, strict=True)]
        std = [choose(where, b, a) for a, b in zip(self.std, other.std, strict=True)]
        return Found(latents, std, choose(where, other.steps, self.steps))

    def elements(self, chosen: Tensor) -> "Found":
        """Some of the batch elements, int64 (n,)."""
        return Found([e[chosen] for e in self.latents], [s[chosen] for s in self.std], self.steps[chosen])

    def put(self, chosen: Tensor, latents: list[Tensor], more: Tensor) -> None:
        """Replace the latents of some batch elements, int64 (n,), after so many more steps each."""
        for own, new in zip(self.latents, latents, strict=True):
            own[chosen] = new
        self.steps[chosen] += more


def encode_imputed(
    model: Model, scale: Scale, h: Tensor, walk: Walk, session: Session, y: Datum, rounds: int
) -> tuple[Any, Encoded]:
    """Encode a scale, missing bins imputed from the prior mean first and from the posterior mean in later rounds.

    Args:
        model: the model.
        scale: the scale.
        h: context that it starts from.
        walk: that has come to the scale.
        session: of the encoder.
        y: the data; noisy ones are filtered about the prior mean.
        rounds: of imputing and encoding; one is enough where nothing is missing.

    Returns:
        Encoder features, and the posterior.
    """
    block, missing = y.value, model.encoder.causal and bool((y.fraction < 1).any())
    if model.encoder.causal and (missing or bool((y.variance[y.mask] > 0).any())):
        block = y.fuse(scale.bins(scale.run(h)), scale.variance())
    features = session.features(scale, walk.block(block))
    encoded = scale.encode(h, features, fraction=y.fraction)
    for _ in range(rounds - 1 if missing else 0):
        imputed = torch.where(y.mask, block, scale.bins(encoded.last))
        features = session.features(scale, walk.block(imputed))
        encoded = scale.encode(h, features, fraction=y.fraction)
    return features, encoded


def prior_precision(model: Model, measured: Measurement, scale: Scale, y: Datum, draws: Draws) -> Tensor:
    """c of one scale, float (B,): 1 where bins are inferred from themselves only, and in samples."""
    return torch.where(draws.drawn(), 1.0, _precision(model, measured, scale, y.fraction < 1))


def _precision(model: Model, measured: Measurement, scale: Scale, missing: Tensor) -> Tensor:
    dispersion = _dispersion(model)
    if not dispersion:
        return torch.ones_like(measured.noise_sigma)
    here = dispersion[scale.index]
    noisy = torch.where(measured.noise_sigma > 0, here, 1.0)
    return torch.where(missing, max(here, _MISSING), noisy)


def _dispersion(model: Model) -> tuple[float, ...]:
    """Of each scale's prior, as stored with the weights; empty where it was not measured, or for a single scale."""
    if len(model.scales) == 1:
        return ()
    return tuple(getattr(getattr(model, "config", None), "dispersion", ()))


def refine_jointly(
    model: Model,
    measured: Measurement,
    found: list[Found],
    bins: Tensor,
    out: Tensor,
    settings: InferenceSettings,
    draws: Draws,
) -> None:
    """Refine the latents of all measured scales together, where finer measured bins predict missing coarser ones.

    Args:
        model: the model.
        measured: the batch.
        found: where the walk over scales left the latents.
        bins: complex64 (B, N, N), its output.
        out: bool (B,), elements out of bounds, which are left as they are.
        settings: `joint_steps` of them.
        draws: posterior samples are left as they are.

    `found`, `bins` and `out` are changed in place, where the result is within bounds (`inference.bounds`).
    """
    if not settings.refines_jointly or len(model.scales) == 1:
        return
    fraction = torch.stack([measured.at(scale).fraction for scale in model.scales], dim=1)
    reached = (fraction > 0).flip(1).cummax(1).values.flip(1)  # measured in part, and all coarser ones
    missing = ((fraction[:, :-1] < 1) & reached[:, 1:]).any(1)
    # Without the central bins no scale knows its brightness: refining jointly measured worse.
    centre = crop(measured.mask, 2).flatten(1).all(1)
    wanted = (missing | (measured.noise_sigma >= _LOUD)) & centre
    if not model.decomposition.separates(measured.mask):
        wanted = torch.ones_like(wanted)
    wanted &= ~draws.drawn() & ~out
    finest = reached.sum(1)
    for count in finest[wanted].unique().tolist():
        chosen = (wanted & (finest == count)).nonzero().squeeze(1)
        problem = _Joint.of(model, measured.elements(chosen), [one.elements(chosen) for one in found], count)
        latents, used = problem.minimum(settings, fraction[chosen].lt(1).any(1))
        refined, lost = problem.output(latents, settings)
        out[chosen] = lost
        kept = chosen[~lost]
        bins[kept] = refined[~lost]
        for index, e in enumerate(latents):
            found[index].put(kept, [one[~lost] for one in e], (used * reached[chosen, index])[~lost])


@dataclass(frozen=True)
class _Joint:
    """Batch elements whose finest measured scale is the same.

    Attributes:
        model: the model.
        measured: these elements.
        data: of each scale.
        found: where the walk left each scale.
        count: scales that move, the coarsest.
    """

    model: Model
    measured: Measurement
    data: list[Datum]
    found: list[Found]
    count: int

    @classmethod
    def of(cls, model: Model, measured: Measurement, found: list[Found], count: int) -> "_Joint":
        return cls(model, measured, [measured.at(scale) for scale in model.scales], found, count)

    def minimum(self, settings: InferenceSettings, missing: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        """Latents of every scale, and the steps that each batch element used; `missing`: bool (B,), any bin."""
        moving = self.found[: self.count]
        scales = self.model.scales[: self.count]
        weights = [y.weight(self.model.sigma**2) for y in self.data[: self.count]]
        factor = _JOINT if _dispersion(self.model) else 1.0
        precision = [factor * _precision(self.model, self.measured, scale, missing) for scale in scales]
        shapes = [e.shape for one in moving for e in one.latents]
        layers = [len(one.latents) for one in moving]

        def objective(x: Tensor) -> Tensor:
            latents = _grouped(cut(x, shapes), layers)
            values = []
            for index, (predicted, _) in enumerate(self.decode(latents)):
                residual = torch.view_as_real(predicted - self.data[index].value).square().sum(-1)
                prior = precision[index] * flat(latents[index]).square().sum(1) / 2
                values.append(prior + (weights[index] * residual).flatten(1).sum(1))
            return torch.stack(values).sum(0)

        start, diagonal = (
            torch.cat([flat(layers) for layers in parts], dim=1)
            for parts in ([one.latents for one in moving], [one.std for one in moving])
        )
        x, used = optimise(objective, start, diagonal, settings, settings.joint_steps)
        return [*_grouped(cut(x, shapes), layers), *(one.latents for one in self.found[self.count :])], used

    def decode(self, latents: Sequence[Latents]) -> Iterator[tuple[Tensor, Tensor]]:
        """Given latents of the coarsest scales, what each predicts, and that fused with the data: complex (B, s, s)."""
        scales = self.model.scales[: len(latents)]
        walk = Walk(self.model, len(self.measured), self.measured.device, scales=scales)
        for (scale, h), e, y in zip(walk, latents, self.data, strict=False):
            last = scale.run(h, e)
            predicted = scale.bins(last)
            fused = y.fuse(predicted, self.model.sigma**2)
            walk.extend(last, fused)
            yield predicted, fused

    def output(self, latents: Sequence[Latents], settings: InferenceSettings) -> tuple[Tensor, Tensor]:
        """The output of all scales, complex64 (B, N, N), and the elements out of bounds, bool (B,)."""
        result = self.measured.kspace[:, :0, :0]
        lost = torch.zeros(len(result), dtype=torch.bool, device=result.device)
        decoded = zip(self.model.scales, self.data, latents, self.decode(latents), strict=True)
        for scale, y, e, (predicted, fused) in decoded:
            lost |= out_of_bounds(scale, e, predicted, y, settings.temperature)
            part = y.shown(predicted, fused, settings.data_consistency)
            result = self.model.decomposition.extend(result, part, scale.index)
        return result, lost


def _grouped(parts: list[Tensor], counts: Sequence[int]) -> list[list[Tensor]]:
    rest = iter(parts)
    return [[next(rest) for _ in range(count)] for count in counts]
