"""The seams of a hierarchical VAE: what inference and training ask of a scale, an encoder and a model.

Latents are whitened: e is standard normal under the prior, z = mu_p + sigma_p e. So objective, start and draws are the
same for every parameterisation. A new decomposition, encoder or scale implements these protocols in a file of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from mri_iahvae.kspace.decomposition import Decomposition

Latents = Sequence[Tensor]
"""Whitened latents of each layer of a scale, float (B, latent, r, r)."""


@dataclass(frozen=True)
class LatentShape:
    """One layer's latents.

    Attributes:
        index: scale that they belong to, counted from the coarsest: decides, with `layer`, what is drawn for them.
        layer: number of the layer within that scale.
        shape: of one batch element, (latent, r, r).
    """

    index: int
    layer: int
    shape: tuple[int, int, int]


class Encoded(NamedTuple):
    """The encoder's posterior of one scale, layer by layer, whitened by the prior.

    Attributes:
        last: context after the last layer, decoded from `latents`.
        mean: float (B, latent, r, r) of each layer.
        std: standard deviation, likewise; 1 is the prior's.
        latents: mean, or sample.
        rate: KL divergence from the prior, summed over the scale: float (B,), nats.
    """

    last: Tensor
    mean: list[Tensor]
    std: list[Tensor]
    latents: list[Tensor]
    rate: Tensor


class Scale(Protocol):
    """One scale of the hierarchy: the latents that generate exactly the coefficients of its ring."""

    index: int
    """Number of the scale among those of its decomposition's grid, from the coarsest: log2 of `side`."""
    side: int
    """Side s of its block."""
    latents: tuple[LatentShape, ...]
    """Its layers."""

    def context(self, h: Tensor | None, coarse: Tensor) -> Tensor:
        """The context that the scale starts from, float (B, C, r, r).

        Args:
            h: last context of the coarser scale; None at the coarsest.
            coarse: complex (B, s/2, s/2), coefficients of the coarser scales; (B, 0, 0) at the coarsest.
        """

    def run(self, h: Tensor, latents: Latents | None = None, first: int = 0) -> Tensor:
        """From the context before layer number `first` to that after the last one that was run.

        As many layers are run as there are latents; None takes the prior mean of all (e = 0).
        """

    def bins(self, last: Tensor) -> Tensor:
        """Coefficients from the last context: complex64 (B, s, s), zero outside the ring."""

    def encode(
        self,
        h: Tensor,
        features: Any,  # noqa: ANN401 - as the encoder's session gives them
        noise: Latents | None = None,
        fraction: Tensor | None = None,
    ) -> Encoded:
        """The encoder's posterior, layer by layer, each given the context of those before it.

        Args:
            h: context that the scale starts from.
            features: as the encoder's session gives them.
            noise: standard normal, draws a sample; None takes the mean.
            fraction: float (B,), fraction of the scale's coefficients that is measured; None for all. What is not
                measured leaves the prior's variance.
        """

    def variance(self) -> float:
        """Expected power of a coefficient per real and imaginary part."""

    def energy(self) -> float:
        """Expected energy of all its coefficients, canonical units."""


class Session(Protocol):
    """An encoder at work on one batch of measurements."""

    def features(self, scale: Scale, block: Tensor) -> Any:  # noqa: ANN401 - what the model's scales take
        """Features of the next scale, given the coefficients up to it, complex (B, s, s), missing ones imputed.

        A bottom-up encoder, which has seen the whole measurement, ignores these.
        """

    def extend(self, scale: Scale, block: Tensor) -> None:
        """What the coefficients up to this scale turned out to be: finer scales' features build on that."""


class Encoder(Protocol):
    """Measurement to features; a `torch.nn.Module`."""

    causal: bool
    """Whether features of a scale depend on coefficients up to it alone: they are imputed where they are missing."""

    def set_gains(self, gains: Tensor) -> None:
        """Adopt the RMS of each band, float (bands,), canonical units."""

    def begin(self, coefficients: Tensor, mask: Tensor) -> Session:
        """Look at a batch: complex and bool (B, N, N), zero and false where not measured."""


class Model(Protocol):
    """A hierarchical VAE, as Algorithm 1 sees it."""

    decomposition: Decomposition
    scales: Sequence[Scale]
    """Coarse to fine."""

    @property
    def sigma(self) -> float:
        """Standard deviation of the likelihood per real and imaginary part, canonical units."""

    @property
    def encoder(self) -> Encoder: ...
