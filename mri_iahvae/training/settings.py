"""Everything that decides a training run, in one frozen dataclass that is stored with it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mri_iahvae.errors import UsageError

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Stage:
    """One stage of growth.

    Attributes:
        size: side of the grid that this stage trains, a power of two.
        steps: optimizer steps.
        batch: slices per step, of all processes together.
        rate: peak learning rate.
        sigma: likelihood standard deviation at the end of the stage, canonical units.
    """

    size: int
    steps: int
    batch: int = 16
    rate: float = 2e-3
    sigma: float = 0.1


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run; schedules count steps, never seconds.

    Attributes:
        stages: growth, coarse grid first.
        sigma_start: sigma of the very first step; later stages start at twice the sigma that the stage before
            ended with, because canonical bins double with the grid.
        completion_weight: weight of the completion-aware term.
        masked_weight: weight of the masked term, which takes its place in half of the steps, at random.
        mean_share: share of the slices that the likelihood term decodes from posterior means, not samples.
        weight_decay: of AdamW.
        clip: gradient norm that gradients are clipped to.
        skip: gradient norm above which a step is skipped.
        ema: decay of the weight average at the end of its warm-up.
        seed: of everything random.
        validate_every: steps between validations.
        save_seconds: seconds between saved states (the first is saved at once).
        precision: of the convolutions while training; weights, FFT, likelihood and KL are always float32, and so
            is validation, so that runs of either precision compare.
    """

    stages: tuple[Stage, ...]
    sigma_start: float = 0.6
    completion_weight: float = 1.0
    masked_weight: float = 1.0
    mean_share: float = 0.25
    weight_decay: float = 0.01
    clip: float = 1.0
    skip: float = 1e4
    ema: float = 0.998
    seed: int = 0
    validate_every: int = 100
    save_seconds: float = 60.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            UsageError: a precision that there is not.
        """
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision}: expected one of {', '.join(PRECISIONS)}")

    @property
    def planned(self) -> int:
        """Steps of all stages together."""
        return self.done(len(self.stages), 0)

    def done(self, stage: int, step: int) -> int:
        """Steps of all stages together after a step of a stage, which is a number from 0 on."""
        return sum(before.steps for before in self.stages[:stage]) + step

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts."""
        return asdict(self)


def parse_stages(text: str, size: int, batch: int, rate: float, sigma: float) -> tuple[Stage, ...]:
    """Read a growth plan such as "32:2000,64:1500,128:1300" (grid:steps).

    Raises:
        UsageError: not of that form, grids that do not grow to `size`, or no steps.
    """
    try:
        pairs = [tuple(int(v) for v in part.split(":")) for part in text.split(",")]
        stages = tuple(Stage(grid, steps, batch, rate, sigma) for grid, steps in pairs)
    except ValueError:
        raise UsageError(
            f"--stages {text}: expected GRID:STEPS,... such as 32:2000,64:1500,128:1300"
        ) from None
    grids = [stage.size for stage in stages]
    powers = all(grid >= 16 and grid & (grid - 1) == 0 for grid in grids)
    if not powers or grids != sorted(set(grids)) or grids[-1] != size or any(s.steps < 1 for s in stages):
        smaller = f", or give --grid {grids[-1]}" if powers and grids[-1] < size else ""
        raise UsageError(
            f"--stages {text}: grids must be powers of two from 16 on that grow to the model's {size}, "
            f"each with at least one step{smaller}"
        )
    return stages


def default_stages(size: int, *, grows: bool = True) -> str:
    """The growth plan of a model on a `size` x `size` grid; one stage for a model that cannot grow."""
    plan = ("32:2000", "64:1500", "128:1300")
    chosen = [part for part in plan if int(part.split(":")[0]) <= size]
    return ",".join(chosen) if grows and size in (32, 64, 128) else f"{size}:2000"
