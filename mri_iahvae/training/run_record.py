"""The record of a training run, `run.json`: what it was started with, and goes on with."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mri_iahvae.errors import IahvaeError, UsageError, reason
from mri_iahvae.files import write_json
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.presets import preset as find_preset
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.states import states

_MALFORMED = OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, IahvaeError


@dataclass(frozen=True)
class RunRecord:
    """What decides a run.

    Attributes:
        model: configuration of the finished model, untrained.
        settings: of the training.
        data: absolute path of the folder of slices.
        slices: how many to train on, and how many held out.
        domain: as in `tasks.train.train`.
        start: likewise.
        provenance: versions, device and other facts, as plain values.
    """

    model: ModelConfig
    settings: TrainSettings
    data: str
    slices: tuple[int, int]
    domain: str | None
    start: str | None
    provenance: dict[str, Any]

    def write(self, run: Path) -> None:
        """Write the record of a new run; a UsageError where the folder holds another one."""
        if states(run):
            advice = "add --resume to go on with it or choose another folder"
            raise UsageError(f"{run}: holds a run already; {advice}")
        values = {"model": self.model.to_json(), "settings": self.settings.to_json(), "data": self.data}
        more = {"slices": self.slices, "domain": self.domain, "start": self.start, **self.provenance}
        write_json(run / "run.json", {**values, **more})

    @classmethod
    def read(cls, run: Path) -> "RunRecord":
        """Read the record of a run; a UsageError where there is none with a saved state."""
        path = run / "run.json"
        if not path.is_file() or not states(run):
            raise UsageError(f"{run}: --resume found no run with a saved state there; start without it")
        try:
            values = json.loads(path.read_text("utf-8"))
            training, held_out = values.pop("slices")
            return cls(
                ModelConfig.from_json(values.pop("model")),
                TrainSettings.from_json(values.pop("settings")),
                str(values.pop("data")),
                (int(training), int(held_out)),
                values.pop("domain"),
                values.pop("start"),
                values,
            )
        except _MALFORMED as error:
            raise IahvaeError(f"{path}: cannot be read as the record of a run ({reason(error)})") from None

    def require(self, run: Path, given: dict[str, Any]) -> None:
        """Refuse options of `mri-iahvae train`, such as {"--batch": 8}, that are not those of the start.

        Raises:
            UsageError: naming each such option with both values.
        """
        stages = self.settings.stages
        options = {
            "--grid": self.model.size,
            "--from": self.start,
            "--domain": self.domain,
            "--stages": ",".join(map(str, stages)),
            **{f"--{name}": getattr(stages[0], name) for name in ("batch", "rate", "sigma")},
            "--save-every": self.settings.save_seconds,
            "--min-signal": self.provenance.get("min_signal", 0.0),
            **{f"--{k.replace('_', '-')}": v for k, v in self.provenance.get("reading", {}).items()},
        }
        changed = []
        for option, found in given.items():
            if option == "--preset":
                if find_preset(found).coarse(self.model.size) != self.model:
                    changed.append(f"--preset {found} is another model")
                continue
            # The other options have the names of the settings.
            setting = getattr(self.settings, option[2:].replace("-", "_"), None)
            was = options.get(option, setting)
            if was != (found.replace(" ", "") if option == "--stages" else found):
                changed.append(f"{option} was {was}, found {found}")
        if changed:
            raise UsageError(f"{run}: --resume goes on with the options of the start; {', '.join(changed)}")


def untrained(config: ModelConfig) -> ModelConfig:
    """The configuration of a model without what training measures: the architecture alone."""
    return replace(config.coarse(config.size), gains=(), sigma=ModelConfig.sigma)
