"""Models by name, and what the paper compares with in their widths and depths."""

from dataclasses import replace

from mri_iahvae.errors import UsageError
from mri_iahvae.model.config import (
    Decoder,
    Encoder,
    Heads,
    ModelConfig,
    ScaleConfig,
    can_super_resolve,
    combined,
)
from mri_iahvae.model.guide_config import GuideConfig

_SMALLEST = 16  # side of a grid that is trained


# Scales: layers, channels, inner, patch, super-resolution.
PRESETS = {
    # 32 x 32, for tests and dry runs.
    "tiny": ModelConfig(
        (*5 * [ScaleConfig(1, 16, 8)], ScaleConfig(1, 16, 8, 2)), encoder_blocks=1, head_blocks=1
    ),
    # 128 x 128. On a CPU, blocks at 32 x 32 with more channels cost a quarter of narrower ones at 128 x 128.
    "small": ModelConfig(
        (
            *4 * [ScaleConfig(2, 64, 32)],
            *2 * [ScaleConfig(3, 64, 32, 1, 64)],
            *(ScaleConfig(2, 96, 48, 2, 80), ScaleConfig(2, 128, 64, 4, 64)),
        ),
        head_blocks=2,
    ),
    # 128 x 128, to be trained on a GPU.
    "base": ModelConfig(
        (
            *(*4 * [ScaleConfig(2, 128, 64)], ScaleConfig(3, 128, 64)),
            *(*2 * [ScaleConfig(3, 128, 64, 1, 32)], ScaleConfig(2, 128, 64, 2, 32)),
        ),
        head_blocks=2,
    ),
    # The widths and depths of the paper's section 4: L = 40 at 128 x 128.
    "paper": ModelConfig(8 * (ScaleConfig(5, 128, 64),), encoder_blocks=3),
}


def guide_of(name: str | None) -> GuideConfig:
    """The size of the guide that goes with a preset, by its name; None for the default."""
    return GuideConfig(steps=2, widths=(8, 16), blocks=1) if name == "tiny" else GuideConfig()


def preset(
    name: str,
    *,
    grid: int | None = None,
    encoder: Encoder = "causal",
    heads: Heads = "image",
    decoder: Decoder = "separable",
    super_resolution: bool = True,
) -> ModelConfig:
    """A preset by name, or what the paper compares with in its widths and depths.

    A grid takes its coarse scales only. Spectral heads and an ordinary decoder have no super-resolution branches;
    others keep those of the preset, unless they are not wanted.

    Raises:
        UsageError: there is no such preset, it has no such grid, or the choices do not go together.
    """
    if name not in PRESETS:
        raise UsageError(f"--preset {name}: expected one of {', '.join(PRESETS)}")
    config = replace(PRESETS[name], encoder=encoder, heads=heads, decoder=decoder)
    if not super_resolution or not can_super_resolve(config):
        scales = tuple(replace(scale, super_resolution=0) for scale in config.scales)
        config = replace(config, scales=scales)
    grids = [2**k for k in range(len(config.scales)) if 2**k >= _SMALLEST]
    if grid is not None and grid not in grids:
        raise UsageError(f"--grid {grid}: expected one of {', '.join(map(str, grids))} with preset {name}")
    if not combined(config):
        raise UsageError("--decoder ordinary: needs --encoder bottom-up and --heads image")
    return config if grid is None else config.coarse(grid)
