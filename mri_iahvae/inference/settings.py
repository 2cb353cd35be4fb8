"""How a reconstruction is computed: one frozen dataclass, stored with the result."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mri_iahvae.errors import UsageError

Method = Literal["amortized", "iterative", "hybrid", "paper"]
DataConsistency = Literal["hard", "soft", "none"]

METHODS: tuple[Method, ...] = ("amortized", "iterative", "hybrid", "paper")
DATA_CONSISTENCY: tuple[DataConsistency, ...] = ("hard", "soft", "none")


@dataclass(frozen=True)
class InferenceSettings:
    """Settings of the scale loop.

    Attributes:
        method: "amortized" (encoder only), "iterative" (refined from the prior mean), "hybrid" (refined from
            the encoder's posterior) or "paper" (Algorithm 1 as printed, see `inference.paper`).
        steps: gradient steps per scale ("paper": per layer); unused by "amortized".
        rate: Adam's first step size, in standard deviations of the prior; it falls to a tenth on a cosine.
        fill_rounds: rounds in which the encoder's holes are filled, at scales that are measured in part.
        data_consistency: what the output holds at measured bins: "hard" the data, "soft" their posterior mean
            given noise, "none" the model's own bins.
        temperature: scales without any measured bin take prior samples at this temperature; 0: the prior mean.
        seed: of those samples.
    """

    method: Method = "hybrid"
    steps: int = 25
    rate: float = 0.1
    fill_rounds: int = 3
    data_consistency: DataConsistency = "hard"
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            UsageError: a value outside its range.
        """
        if self.method not in METHODS:
            raise UsageError(f"method {self.method}: expected one of {', '.join(METHODS)}")
        if self.data_consistency not in DATA_CONSISTENCY:
            raise UsageError(
                f"data consistency {self.data_consistency}: expected one of {', '.join(DATA_CONSISTENCY)}"
            )
        if not (math.isfinite(self.rate) and math.isfinite(self.temperature)) or not 0 <= self.seed < 2**32:
            raise UsageError("rate and temperature must be finite, the seed from 0 to 2^32 - 1")
        if self.steps < 0 or self.fill_rounds < 1 or self.rate <= 0 or self.temperature < 0:
            raise UsageError(
                "steps and temperature must not be negative, fill rounds and rate must be positive"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return asdict(self)
