"""What a model is made of: one frozen dataclass, stored as JSON beside the weights, and the presets."""

import math
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from mri_iahvae.errors import CheckpointError, UsageError, reason

Encoder = Literal["causal", "bottom-up"]
Heads = Literal["image", "spectral"]
Decoder = Literal["separable", "ordinary"]
_CHOICES = {"encoder": get_args(Encoder), "heads": get_args(Heads), "decoder": get_args(Decoder)}
_SMALLEST = 16  # side of a grid that is trained
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
        detail: width of the network that tells the context what the coarser bins say of this band
            (`model.detail`); 0: none.
    """

    layers: int
    channels: int
    inner: int
    patch: int = 1
    detail: int = 0

    def resolution(self, index: int) -> int:
        """Side r = s / patch of the maps of scale s = 2^index."""
        return int(max(1, 2**index // self.patch))

    @property
    def width(self) -> int:
        """Channels of the context, the super-resolved image among them."""
        return self.channels + (2 * self.patch**2 if self.detail else 0)


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
        sigma: likelihood standard deviation per real and imaginary part, canonical units.
        gains: RMS per k-space bin of each band on the training set, canonical units.
        spread: energy of the prior's samples about its mean over that of the mean's error, for each band, on held-back
            slices, at least 1; empty where it was not measured (`inference.measurement`).
        core_power: mean power per bin of block B_8 on the training set, canonical units, row by row.
    """

    scales: tuple[ScaleConfig, ...]
    latent: int = 1
    encoder_blocks: int = 2
    head_blocks: int = 3
    encoder: Encoder = "causal"
    heads: Heads = "image"
    decoder: Decoder = "separable"
    sigma: float = 0.1
    gains: tuple[float, ...] = ()
    core_power: tuple[tuple[float, ...], ...] = ()
    spread: tuple[float, ...] = ()

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
        """A lower bound of the number of weights, and at least a tenth of it; told without taking memory."""
        count = 0
        for index, scale in enumerate(self.scales):
            answers = self.decoder == "separable" or index == len(self.scales) - 1
            blocks = 3 * scale.layers + self.encoder_blocks + self.head_blocks * answers
            latents = self.latent * scale.patch**2 * scale.layers
            count += 2 * scale.inner * (scale.inner + scale.channels) * blocks
            count += latents * (scale.channels + 4 * scale.inner)
            count += 9 * scale.detail * (2 * SUPER_RESOLUTION_BLOCKS * scale.detail + 12)
            count += scale.channels * (self.scales[index - 1].channels if index else 4 * scale.patch**2)
        return count

    @property
    def grows(self) -> bool:
        """Whether finer scales can be added to a trained model: not where the finest scale feeds all others."""
        return self.encoder == "causal"

    def coarse(self, size: int) -> Self:
        """The same model up to scale `size` only: where growth starts."""
        count = size.bit_length()
        return replace(self, scales=self.scales[:count], gains=self.gains[:count], core_power=(), spread=())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            CheckpointError: a key is unknown or missing, or a value is of the wrong kind.
        """
        try:
            _check_keys(values, cls)
            for scale in values["scales"]:
                _check_keys(scale, ScaleConfig)
            config = cls(
                **{
                    **values,
                    "scales": tuple(ScaleConfig(**scale) for scale in values["scales"]),
                    "gains": tuple(float(g) for g in values.get("gains", ())),
                    "spread": tuple(float(s) for s in values.get("spread", ())),
                    "core_power": tuple(tuple(float(p) for p in row) for row in values.get("core_power", ())),
                }
            )
            _check_values(config)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise CheckpointError(f"the model configuration is malformed ({reason(error)})") from None
        return config


def _check_keys(values: dict[str, Any], cls: type) -> None:
    unknown = set(values) - {field.name for field in fields(cls)}
    if unknown:
        raise CheckpointError(f"the model configuration has unknown keys: {', '.join(sorted(unknown))}")


def _check_values(config: ModelConfig) -> None:
    """Refuse, by ValueError or TypeError, what no model can be built from."""
    counts = [config.latent, config.encoder_blocks, config.head_blocks]
    counts += [
        count for scale in config.scales for count in astuple(replace(scale, detail=scale.detail or 1))
    ]
    if not config.scales or any(type(count) is not int or count < 1 for count in counts):
        raise ValueError("scales, layers, channels and blocks must be positive whole numbers")
    if any(scale.detail for scale in config.scales) and not _detailed(config):
        raise ValueError(
            "details are images of the coarser bins: no spectral heads, no ordinary decoder, no scale 1"
        )
    if len(config.scales) > _MAX_SCALES:
        raise ValueError(f"at most {_MAX_SCALES} scales")
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}")
    if not _combined(config):
        raise ValueError("an ordinary decoder needs a bottom-up encoder and an image head")
    if any(2**k % scale.patch for k, scale in enumerate(config.scales)):
        raise ValueError("a patch must divide the side of its scale")
    if not all(math.isfinite(v) and v > 0 for v in (config.sigma, *config.gains, *config.spread)):
        raise ValueError("sigma, gains and spread must be positive")
    if len(config.spread) not in (0, len(config.scales)):
        raise ValueError("spread must be given for every scale or none")
    rows = len(config.core_power)
    if len(config.gains) > len(config.scales) or any(len(row) != rows for row in config.core_power):
        raise ValueError("more gains than scales, or a core that is not square")
    if rows > config.size or not all(math.isfinite(p) and p >= 0 for row in config.core_power for p in row):
        raise ValueError("a core beyond the grid, or power that is negative or not finite")


def _combined(config: ModelConfig) -> bool:
    """Whether encoder, heads and decoder go together."""
    return config.decoder == "separable" or (config.encoder, config.heads) == ("bottom-up", "image")


def _detailed(config: ModelConfig) -> bool:
    """Whether scales can have details."""
    return (config.heads, config.decoder, config.scales[0].detail) == ("image", "separable", 0)


def _ladder(layers: str, channels: str, inner: str, patch: str, detail: str) -> tuple[ScaleConfig, ...]:
    columns = ([int(v) for v in text.split()] for text in (layers, channels, inner, patch, detail))
    return tuple(ScaleConfig(*row) for row in zip(*columns, strict=True))


PRESETS = {
    # 32 x 32, for tests and dry runs.
    "tiny": ModelConfig(
        _ladder("1 1 1 1 1 1", "16 16 16 16 16 16", "8 8 8 8 8 8", "1 1 1 1 1 2", "0 0 0 0 0 0"),
        encoder_blocks=1,
        head_blocks=1,
    ),
    # 128 x 128. On a CPU, blocks at 32 x 32 with more channels cost a quarter of narrower ones at 128 x 128.
    "small": ModelConfig(
        _ladder(
            layers="2 2 2 2 3 3 2 2",
            channels="64 64 64 64 64 64 96 128",
            inner="32 32 32 32 32 32 48 64",
            patch="1 1 1 1 1 1 2 4",
            detail="0 0 0 0 64 64 80 64",
        ),
        head_blocks=2,
    ),
    # 128 x 128, to be trained on a GPU.
    "base": ModelConfig(
        _ladder(
            layers="2 2 2 2 3 3 3 2",
            channels="128 128 128 128 128 128 128 128",
            inner="64 64 64 64 64 64 64 64",
            patch="1 1 1 1 1 1 1 2",
            detail="0 0 0 0 0 32 32 32",
        ),
        head_blocks=2,
    ),
    # The widths and depths of the paper's section 4: L = 40 at 128 x 128.
    "paper": ModelConfig(
        _ladder("5 5 5 5 5 5 5 5", "128 " * 8, "64 " * 8, "1 " * 8, "0 " * 8),
        encoder_blocks=3,
    ),
}


def preset(
    name: str,
    *,
    grid: int | None = None,
    encoder: Encoder = "causal",
    heads: Heads = "image",
    decoder: Decoder = "separable",
    details: bool = True,
) -> ModelConfig:
    """A preset by name, or what the paper compares with in its widths and depths.

    Args:
        name: of the preset.
        grid: side of the grid, for its coarse scales only.
        encoder: as in `ModelConfig`, like the next two.
        heads: likewise.
        decoder: likewise.
        details: keep those that the preset has; spectral heads and an ordinary decoder cannot have any.

    Raises:
        UsageError: there is no such preset, it has no such grid, or the choices do not go together.
    """
    if name not in PRESETS:
        raise UsageError(f"preset {name}: expected one of {', '.join(PRESETS)}")
    scales = PRESETS[name].scales
    if not details or (heads, decoder) != ("image", "separable"):
        scales = tuple(replace(scale, detail=0) for scale in scales)
    config = replace(PRESETS[name], scales=scales, encoder=encoder, heads=heads, decoder=decoder)
    grids = [2**k for k in range(len(config.scales)) if 2**k >= _SMALLEST]
    if grid is not None and grid not in grids:
        raise UsageError(f"--grid {grid}: expected one of {', '.join(map(str, grids))} with preset {name}")
    if not _combined(config):
        raise UsageError("--decoder ordinary: needs --encoder bottom-up and --heads image")
    return config if grid is None else config.coarse(grid)
