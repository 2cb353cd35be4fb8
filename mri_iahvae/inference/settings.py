"""How a reconstruction is computed: one frozen dataclass, stored with the result."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mri_iahvae.errors import UsageError

Method = Literal["guide", "amortized", "iterative", "hybrid", "paper"]
DataConsistency = Literal["hard", "soft", "none"]
Optimizer = Literal["lbfgs", "adam"]
Schedule = Literal["joint", "sequential"]
Precision = Literal["auto", "float32", "bfloat16"]
Quality = Literal["fast", "default", "best"]
Steps = int | Literal["auto"]

_MOST_STEPS = 100
MOST_SYMMETRIES = 8
"""All of `kspace.symmetry`."""
_TOLERANCE = 1e-2

METHODS: tuple[Method, ...] = get_args(Method)
DATA_CONSISTENCY: tuple[DataConsistency, ...] = get_args(DataConsistency)
_CHOICES = {
    "method": METHODS,
    "data_consistency": DATA_CONSISTENCY,
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
}

CONVERGES: dict[Optimizer, bool] = {"lbfgs": True, "adam": False}
"""Optimizers, and whether they end once the objective has converged."""

QUALITY: dict[Quality, dict[str, Any]] = {
    "fast": {"method": "guide", "symmetries": 1},
    "default": {},
    "best": {"steps": 15, "symmetries": 8},
}
"""Settings that each quality chooses; all others keep their defaults."""

IDLE: dict[str, tuple[str, ...]] = {
    "guide": ("steps", "optimizer", "schedule"),
    "amortized": ("steps", "optimizer", "schedule"),
    "iterative": ("symmetries", "series"),
    "paper": ("optimizer", "schedule", "samples", "symmetries", "series"),
}
"""Settings that a method ignores."""

GUIDED: tuple[Method, ...] = ("guide", "amortized", "hybrid")
"""Methods that begin with the guide's estimate, of models that have a guide."""

CORED: tuple[Method, ...] = ("amortized", "iterative", "hybrid")
"""Methods that, without a guide, take block B_8 from the coarse prior of models that have one."""

LADDERLESS: tuple[Method, ...] = ("guide",)
"""Methods that end with it."""


@dataclass(frozen=True)
class InferenceSettings:
    """Settings of the scale loop.

    Attributes:
        method: "guide" (its estimate alone), "amortized" (guide, encoder and decoder in one pass), "hybrid" (refined
            from there), "iterative" (refined from the prior mean, without guide) or "paper" (Algorithm 1 as printed,
            without guide, see `inference.comparators.paper`).
        steps: of refinement per scale (per layer where the schedule is sequential), a step being one evaluation
            of the objective with its gradient; "auto": until the objective has converged. Unused by "amortized".
        optimizer: "lbfgs" (see `inference.lbfgs`) or "adam"; "paper" has its own.
        schedule: "joint" refines all layers of a scale together, "sequential" one layer after the other.
        data_consistency: what the output holds at measured bins: "hard" the data, "soft" their posterior mean
            given noise, "none" the model's own bins.
        samples: posterior samples per slice; 0: the most probable latents, and prior means where nothing was
            measured.
        temperature: factor on the standard deviation of all that is drawn.
        seed: of all that is drawn.
        precision: of the convolutions; "auto" is bfloat16 where the processor has it, else float32. The FFT and the
            objective are always float32.
        compile: run the networks through `torch.compile` (mode "reduce-overhead"); on CUDA only.
        symmetries: copies of the measurement, 1 to 8, of which the guide's estimates are averaged (`kspace.symmetry`).
        series: take the slices for frames in time, and estimate each from all (`inference.series`).
    """

    method: Method = "hybrid"
    steps: Steps = 3
    optimizer: Optimizer = "lbfgs"
    schedule: Schedule = "joint"
    data_consistency: DataConsistency = "hard"
    samples: int = 0
    temperature: float = 1.0
    seed: int = 0
    precision: Precision = "auto"
    compile: bool = False
    symmetries: int = 4
    series: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            UsageError: a value outside its range, or two that exclude each other.
        """
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise UsageError(f"{name.replace('_', ' ')} {value}: expected one of {', '.join(choices)}")
        if self.steps != "auto" and (not isinstance(self.steps, int) or self.steps < 0):
            raise UsageError(f"steps {self.steps}: expected a whole number from 0 on, or auto")
        if self.steps == "auto" and (not CONVERGES[self.optimizer] or self.method == "paper"):
            advice = "give a number, or take the optimizer lbfgs and a method other than paper"
            raise UsageError(f"steps auto: {advice}")
        if self.samples and "samples" in IDLE.get(self.method, ()):
            raise UsageError(f"method {self.method} gives one estimate: take another one for samples")
        if self.series and self.method not in GUIDED:
            raise UsageError(f"method {self.method} has no guide, which a series needs: take another one")
        if self.symmetries not in range(1, MOST_SYMMETRIES + 1):
            raise UsageError(f"symmetries {self.symmetries}: expected 1 to {MOST_SYMMETRIES}")
        if self.samples < 0 or not 0 <= self.seed < 2**32:
            raise UsageError("samples must not be negative, the seed from 0 to 2^32 - 1")
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise UsageError("the temperature must be finite and not negative")

    @property
    def budget(self) -> tuple[int, float]:
        """Most steps, and the fraction of the objective by which each must lower it for more to follow."""
        return (_MOST_STEPS, _TOLERANCE) if self.steps == "auto" else (self.steps, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return asdict(self)

    def in_effect(self) -> dict[str, Any]:
        """The same, None for what the method ignores."""
        idle = {*IDLE.get(self.method, ()), *(() if self.samples else ("temperature",))}
        return {name: None if name in idle else value for name, value in self.to_json().items()}


def inference_settings(quality: Quality = "default", **values: Any) -> InferenceSettings:  # noqa: ANN401 - by name
    """Settings by name, beside those that a quality chooses.

    Args:
        quality: "fast" (the guide), "default", or "best" (more steps); see `QUALITY`.
        **values: fields of `InferenceSettings`.

    Raises:
        UsageError: no such quality or setting, one that the quality chooses too, or as `InferenceSettings`.
    """
    known = list(InferenceSettings.__dataclass_fields__)
    for name in values:
        if name not in known:
            raise UsageError(f"{name}: no such setting; expected one of quality, {', '.join(known)}")
    if quality not in QUALITY:
        raise UsageError(f"quality {quality}: expected one of {', '.join(QUALITY)}")
    chosen = QUALITY[quality]
    for name in chosen:
        if name in values:
            raise UsageError(f"quality {quality} chooses {name} itself: leave one of the two out")
    return InferenceSettings(**chosen, **values)
