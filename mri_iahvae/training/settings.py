"""Everything that decides a training run, in one frozen dataclass that is stored with it."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, get_args

from mri_iahvae.errors import UsageError
from mri_iahvae.model.guide_config import GuideConfig

Precision = Literal["float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_STAGE = re.compile(r"(\d{1,9}|guide):(\d{1,9})(?:@(\d{1,9})(?:-(\d{1,9}))?)?")
SMALLEST = 16
"""Side of the smallest grid that is trained."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run: a grid, and the scales that are trained on it.

    Attributes:
        size: side of the grid, a power of two.
        steps: optimizer steps.
        batch: slices per step, of all processes together.
        rate: peak learning rate.
        sigma: likelihood standard deviation at the end of the stage, canonical units.
        scales: coarsest and finest scale that are trained, as sides of their blocks; the other scales are held.
            None: all scales are trained.
        guide: train the guide, and no scale.

    Raises:
        UsageError: a grid or scales that cannot be trained, or no steps.
    """

    size: int
    steps: int
    batch: int = 16
    rate: float = 2e-3
    sigma: float = 0.1
    scales: tuple[int, int] | None = None
    guide: bool = False

    def __post_init__(self) -> None:
        coarsest, finest = self.scales or (1, self.size)
        powers = all(side > 0 and side & (side - 1) == 0 for side in (self.size, coarsest, finest))
        if not powers or self.size < SMALLEST or not coarsest <= finest <= self.size or self.steps < 1:
            raise UsageError(
                f"expected a grid that is a power of two from {SMALLEST} on, at least one step, and "
                "scales that are powers of two up to the grid, the coarsest first"
            )

    @property
    def trained(self) -> range:
        """Indices k of the scales 2^k that are trained."""
        coarsest, finest = self.scales or (1, self.size)
        return range(coarsest.bit_length() - 1, finest.bit_length())

    def __str__(self) -> str:
        if self.guide:
            return f"guide:{self.steps}"
        if self.scales is None:
            return f"{self.size}:{self.steps}"
        coarsest, finest = self.scales
        return f"{self.size}:{self.steps}@{coarsest}" + f"-{finest}" * (finest != coarsest)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run; schedules count steps, never seconds.

    Attributes:
        stages: one after the other; grids stay or grow.
        sigma_start: sigma of the very first step; later stages start at the sigma that the stage before ended with,
            doubled with each doubling of the grid, as canonical bins are.
        completion_weight: weight of the completion-aware term.
        masked_weight: weight of the masked term, which takes its place in half of the steps, at random.
        mean_fraction: fraction of the slices that the likelihood term decodes from posterior means, not samples.
        resampled: fraction of the slices that augmentation resamples: zoom, shift, contrast (`augment`).
        weight_decay: of AdamW.
        clip: gradient norm that gradients are clipped to.
        skip: gradient norm above which a step is skipped.
        ema: decay of the weight average at the end of its warm-up.
        seed: of everything random.
        validate_every: steps between validations.
        save_seconds: seconds between saved states (the first is saved at once).
        precision: of the convolutions while training; weights, FFT, likelihood and KL are always float32, and so
            is validation, so that runs of either precision compare.
        half: store the finished model in half precision.
        guide: the size of the guide, where a stage trains one.

    Raises:
        UsageError: an unknown precision.
    """

    stages: tuple[Stage, ...]
    sigma_start: float = 0.6
    completion_weight: float = 1.0
    masked_weight: float = 1.0
    mean_fraction: float = 0.25
    resampled: float = 1.0
    weight_decay: float = 0.01
    clip: float = 1.0
    skip: float = 1e4
    ema: float = 0.998
    seed: int = 0
    validate_every: int = 100
    save_seconds: float = 60.0
    precision: Precision = "float32"
    half: bool = False
    guide: GuideConfig = field(default_factory=GuideConfig)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision}: expected one of {', '.join(PRECISIONS)}")

    @property
    def planned(self) -> int:
        return self.done(len(self.stages), 0)

    def done(self, stage: int, step: int) -> int:
        """Steps of all stages together after a step of a stage, which is a number from 0 on."""
        return sum(before.steps for before in self.stages[:stage]) + step

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`; what an earlier version did not know has its default.

        Raises:
            KeyError, TypeError, ValueError: other values than `to_json` gives.
            UsageError: values that cannot be trained with.
        """
        stages = []
        for stage in values["stages"]:
            scales = stage.get("scales")
            stages.append(Stage(**{**stage, "scales": None if scales is None else (scales[0], scales[1])}))
        if not stages:
            raise ValueError("no stages")
        guide = GuideConfig.from_json(values["guide"]) if "guide" in values else GuideConfig()
        return cls(**{**values, "stages": tuple(stages), "guide": guide})


def parse_stages(
    text: str, size: int, batch: int, rate: float, sigma: float, first: int = SMALLEST
) -> tuple[Stage, ...]:
    """Read a plan such as "guide:3000,32:2000,64:1500" (GRID:STEPS) or "128:600@16-128" (only scales 16 to 128).

    It ends at the grid of the finished model, `size`, and begins at `first` or more, that of the model to start from.
    All stages have the same batch, rate and sigma.

    Raises:
        UsageError: not of that form, or grids that do not grow to `size`.
    """
    stages = []
    for part in text.split(","):
        if not (match := _STAGE.fullmatch(part.strip())):
            raise UsageError(
                f"--stages {text}: expected GRID:STEPS,... such as guide:3000,32:2000,64:1500,128:1300, where @16-128 "
                "after the steps trains only the scales 16 to 128"
            )
        guide = match[1] == "guide"
        steps, coarsest, finest = (None if number is None else int(number) for number in match.groups()[1:])
        grid = size if guide else int(match[1])
        scales = None if coarsest is None else (coarsest, coarsest if finest is None else finest)
        try:
            if guide and scales is not None:
                raise UsageError("the guide has no scales")
            stages.append(Stage(grid, steps or 0, batch, rate, sigma, scales, guide))
        except UsageError as error:
            raise UsageError(f"--stages {text}: {error}") from None
    kinds = [stage.guide for stage in stages]
    if kinds != sorted(kinds, reverse=True):
        raise UsageError(f"--stages {text}: expected the guide's stages first")
    grids = [stage.size for stage in stages if not stage.guide] or [size]
    if grids != sorted(grids) or grids[0] < first or grids[-1] != size:
        smaller = f", or give --grid {grids[-1]}" if first <= grids[-1] < size else ""
        raise UsageError(f"--stages {text}: expected grids that grow from {first} or more to {size}{smaller}")
    return tuple(stages)


def default_stages(size: int, *, grows: bool = True, first: int = SMALLEST, guided: bool = False) -> str:
    """The plan of a model on a `size` x `size` grid: one stage for one that cannot grow; a guide comes first."""
    plan = {32: 2000, 64: 1500, 128: 1300}
    chosen = [f"{grid}:{steps}" for grid, steps in plan.items() if first <= grid <= size]
    ladder = ",".join(chosen) if grows and size in plan else f"{size}:2000"
    return f"guide:3000,{ladder}" if guided else ladder
