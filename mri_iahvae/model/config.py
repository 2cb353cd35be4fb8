"""What a model is made of: one frozen dataclass, stored as JSON beside the weights."""

import math
from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any, Literal, Self

from mri_iahvae.errors import CheckpointError, reason

Encoder = Literal["causal", "bottom-up"]
Heads = Literal["image", "spectral"]
Decoder = Literal["separable", "ordinary"]
DecompositionName = Literal["fourier", "wavelets", "block-dct", "rotations"]

GROWS: dict[Encoder, bool] = {"causal": True, "bottom-up": False}
"""Encoders, and whether finer scales can be added to a trained one."""

IMAGES: dict[Heads, bool] = {"image": True, "spectral": False}
"""Heads, and whether they predict images, which a super-resolution branch can add to."""

COUPLES: dict[DecompositionName, bool] = {
    "fourier": False,
    "wavelets": True,
    "block-dct": True,
    "rotations": True,
}
"""Decompositions, and whether a mask couples their scales: the commands take models whose scales stay separate."""


@dataclass(frozen=True)
class DecoderRules:
    """What goes with a decoder. `banded`: each scale has a head for its own band, and contexts see the coarser bins."""

    encoders: tuple[Encoder, ...]
    heads: tuple[Heads, ...]
    banded: bool


DECODERS: dict[Decoder, DecoderRules] = {
    "separable": DecoderRules(("causal", "bottom-up"), ("image", "spectral"), banded=True),
    "ordinary": DecoderRules(("bottom-up",), ("image",), banded=False),
}

_CHOICES: dict[str, Collection[str]] = {
    "encoder": GROWS,
    "heads": IMAGES,
    "decoder": DECODERS,
    "decomposition": COUPLES,
}
_RENAMED = {"detail": "super_resolution"}  # keys of earlier versions
_DROPPED = {"spread", "dispersion"}  # likewise
_MAX_SCALES = 13  # a grid of 4096 x 4096

SUPER_RESOLUTION_BLOCKS = 6
"""Residual blocks of two convolutions in a super-resolution branch (`model.super_resolution`)."""


@dataclass(frozen=True)
class ScaleConfig:
    """One scale s of the ladder.

    Attributes:
        layers: number M of stochastic layers.
        channels: width of the context h.
        inner: middle width of the bottleneck blocks.
        patch: space-to-depth factor p: the scale works on maps of side s / p, its s x s latents and images
            folded into channels. Fine scales cost p^2 times less that way.
        super_resolution: width of the branch that predicts the band from the coarser bins
            (`model.super_resolution`); 0: none.
    """

    layers: int
    channels: int
    inner: int
    patch: int = 1
    super_resolution: int = 0

    def resolution(self, index: int) -> int:
        """Side r = s / patch of the maps of scale s = 2^index."""
        return int(max(1, 2**index // self.patch))

    @property
    def width(self) -> int:
        """Channels of the context, the super-resolved image among them."""
        return self.channels + (2 * self.patch**2 if self.super_resolution else 0)


@dataclass(frozen=True)
class ModelConfig:
    """A complex IA-HVAE on an N x N grid.

    Attributes:
        scales: one entry per scale 1, 2, 4 ... N.
        latent: latent channels per pixel of a scale.
        encoder_blocks: residual blocks per scale in the encoder.
        head_blocks: residual blocks per head.
        encoder: "causal": features of scale s from B_s alone; "bottom-up": from the whole grid, finest scale first.
        heads: what a head predicts before the gains: an "image", to be transformed, or the bins themselves
            ("spectral").
        decoder: "separable": each scale answers for its own band, contexts see the coarser bins; "ordinary": an
            ordinary HVAE, one head on the last context answers for all bins. It wants the bottom-up encoder.
        decomposition: what the scales of a separable decoder are: bands of k-space ("fourier"), or those of a linear
            transform of the image (`kspace.separable`), whose scales a mask couples.
        sigma: likelihood standard deviation per real and imaginary part, canonical units.
        gains: RMS per coefficient of each scale on the training set, canonical units.
        core_power: mean power per bin of block B_8 on the training set, canonical units, row by row.
        angles: of the decomposition "rotations", learned on the training set; Haar's where there are none.
    """

    scales: tuple[ScaleConfig, ...]
    latent: int = 1
    encoder_blocks: int = 2
    head_blocks: int = 3
    encoder: Encoder = "causal"
    heads: Heads = "image"
    decoder: Decoder = "separable"
    decomposition: DecompositionName = "fourier"
    sigma: float = 0.1
    gains: tuple[float, ...] = ()
    core_power: tuple[tuple[float, ...], ...] = ()
    angles: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Side N of the grid."""
        return int(2 ** (len(self.scales) - 1))

    @property
    def depth(self) -> int:
        """Number L of stochastic layers."""
        return sum(scale.layers for scale in self.scales)

    @property
    def least_weights(self) -> int:
        """A lower bound of the number of weights, and at least a tenth of it; takes no memory."""
        count = 0
        for index, scale in enumerate(self.scales):
            answers = DECODERS[self.decoder].banded or index == len(self.scales) - 1
            blocks = 3 * scale.layers + self.encoder_blocks + self.head_blocks * answers
            latents = self.latent * scale.patch**2 * scale.layers
            count += 2 * scale.inner * (scale.inner + scale.channels) * blocks
            count += latents * (scale.channels + 4 * scale.inner)
            count += 9 * scale.super_resolution * (2 * SUPER_RESOLUTION_BLOCKS * scale.super_resolution + 12)
            count += scale.channels * (self.scales[index - 1].channels if index else 4 * scale.patch**2)
        return count

    @property
    def grows(self) -> bool:
        """Whether finer scales can be added to a trained model: not where the finest scale feeds all others."""
        return GROWS[self.encoder]

    def coarse(self, size: int) -> Self:
        """The same model up to scale `size` only: where growth starts."""
        count = size.bit_length()
        # So many angles for each value of an axis but one, coarse scales first.
        angles = self.angles[: len(self.angles) // max(1, self.size - 1) * (size - 1)]
        scales, gains = self.scales[:count], self.gains[:count]
        return replace(self, scales=scales, gains=gains, core_power=(), angles=angles)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            CheckpointError: a key is unknown or missing, or a value is of the wrong kind.
        """
        try:
            values = _known(values, cls)
            values["scales"] = tuple(ScaleConfig(**_known(scale, ScaleConfig)) for scale in values["scales"])
            for name in ("gains", "angles"):
                values[name] = tuple(float(value) for value in values.get(name, ()))
            values["core_power"] = tuple(tuple(float(p) for p in row) for row in values.get("core_power", ()))
            config = cls(**values)
            _check_values(config)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise CheckpointError(f"the model configuration is malformed ({reason(error)})") from None
        return config


def _known(values: dict[str, Any], cls: type) -> dict[str, Any]:
    """With the keys of this version, which are all known."""
    values = {_RENAMED.get(key, key): value for key, value in dict(values).items() if key not in _DROPPED}
    unknown = set(values) - {field.name for field in fields(cls)}
    if unknown:
        raise CheckpointError(f"the model configuration has unknown keys: {', '.join(sorted(unknown))}")
    return values


def _check_values(config: ModelConfig) -> None:
    """Refuse, by ValueError or TypeError, what no model can be built from."""
    counts = [config.latent, config.encoder_blocks, config.head_blocks]
    for scale in config.scales:
        counts += astuple(replace(scale, super_resolution=scale.super_resolution or 1))
    if not config.scales or any(type(count) is not int or count < 1 for count in counts):
        raise ValueError("scales, layers, channels and blocks must be positive whole numbers")
    if len(config.scales) > _MAX_SCALES:
        raise ValueError(f"at most {_MAX_SCALES} scales")
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}")
    branches = [bool(scale.super_resolution) for scale in config.scales]
    if any(branches) and (branches[0] or not can_super_resolve(config)):
        needed = "image heads, a separable decoder and a coarser scale"
        raise ValueError(f"super-resolution branches need {needed}")
    if not combined(config):
        raise ValueError("an ordinary decoder needs a bottom-up encoder and an image head")
    if any(2**k % scale.patch for k, scale in enumerate(config.scales)):
        raise ValueError("a patch must divide the side of its scale")
    if not all(math.isfinite(angle) for angle in config.angles):
        raise ValueError("angles must be finite")
    if not all(math.isfinite(v) and v > 0 for v in (config.sigma, *config.gains)):
        raise ValueError("sigma and gains must be positive")
    rows = len(config.core_power)
    if len(config.gains) > len(config.scales) or any(len(row) != rows for row in config.core_power):
        raise ValueError("more gains than scales, or a core that is not square")
    if rows > config.size or not all(math.isfinite(p) and p >= 0 for row in config.core_power for p in row):
        raise ValueError("a core beyond the grid, or power that is negative or not finite")


def combined(config: ModelConfig) -> bool:
    """Whether encoder, heads and decoder go together."""
    rules = DECODERS[config.decoder]
    return config.encoder in rules.encoders and config.heads in rules.heads


def can_super_resolve(config: ModelConfig) -> bool:
    """Whether scales can have super-resolution branches."""
    return IMAGES[config.heads] and DECODERS[config.decoder].banded
