"""What a run writes and shows while it trains: log, states, model, pictures, progress."""

import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch

from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import atomic_path
from mri_iahvae.processes import rank
from mri_iahvae.training.stage import StageBase
from mri_iahvae.training.states import prune, state_path

_LOG_STEPS = 10
_TOO_MANY = 20  # skipped steps in a row: those that follow will hardly be better


class Display(Protocol):
    """Shows progress to a person."""

    def begin(self, text: str) -> None:
        """A run starts or goes on, and where."""

    def step(self, entry: dict[str, Any], total: int) -> None:
        """One logged step of `total`, with what `log.jsonl` has of it."""

    def validation(self, entry: dict[str, Any]) -> None: ...


class Recorder(L.Callback):
    """Lightning callback that keeps the record of one stage; of several processes the first one writes and shows.

    `draw` draws pictures of the averaged model to a path, with a title; `training` is the record for the checkpoint.
    """

    def __init__(
        self, run: Path, display: Display, draw: Callable[[Path, str], None] | None, training: dict[str, Any]
    ) -> None:
        self.run = run
        self.display = display
        self.draw = draw
        self.training = training
        self.stop = False
        self._saved = self._logged = time.monotonic()
        self._slices = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:  # noqa: ANN401 - a `StageBase`
        """Save at once: whatever happens next, the run can be resumed."""
        if trainer.global_step == 0:
            self._save(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:  # noqa: ANN401
        """Log, show, save when it is time or the run is asked to stop, or must."""
        self._slices += pl_module.stage.batch
        done = trainer.global_step >= pl_module.stage.steps
        if trainer.global_step % _LOG_STEPS == 0 or done:
            self._log_step(trainer.global_step, pl_module)
        # All processes save a state together, at the same step. A signal that comes meanwhile counts at the next one.
        anywhere = partial(trainer.strategy.reduce_boolean_decision, all=False)
        late = anywhere(time.monotonic() - self._saved > pl_module.settings.save_seconds)
        stop = anywhere(self.stop)
        hopeless = pl_module.skipped_in_a_row >= _TOO_MANY
        if late or done or stop or hopeless:
            self._save(trainer, pl_module)
        # The weights are those of the last good step: skipped ones leave them alone.
        if hopeless and rank() == 0:
            raise IahvaeError(
                f"{self.run}: loss or gradient was not finite, or far too large, in {_TOO_MANY} steps in a row up to "
                f"step {trainer.global_step} of grid {pl_module.stage.size}; the model of the last good step is in "
                f"{self.run / 'model'}: start again with a lower --rate, and look for odd slices in the data"
            )
        if stop or hopeless:
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:  # noqa: ANN401
        if rank():
            return
        entry = {**_position_of("validation", trainer.global_step, pl_module), **pl_module.validation}
        self._write(entry)
        self.display.validation(entry)
        if self.draw is None:
            return
        index, size, step = pl_module.stage_index, pl_module.stage.size, trainer.global_step
        name = f"stage{index}-grid{size:03d}-step{step:06d}.png"
        title = f"stage {index}, grid {size}x{size}, step {step} of {pl_module.stage.steps}"
        self.draw(self.run / "pictures" / name, title)

    def _log_step(self, step: int, module: StageBase) -> None:
        if rank():
            return
        now = time.monotonic()
        speed = self._slices / max(1e-9, now - self._logged)
        entry = {
            **_position_of("step", step, module),
            "slices_per_second": speed,
            "seconds_left": (module.stage.steps - step) * module.stage.batch / speed,  # of the stage
            "skipped": int(module.skipped),
        }
        for key, value in module.statistics.items():
            entry[key] = float(value) if isinstance(value, torch.Tensor) else value
        self._logged, self._slices = now, 0
        self._write(entry)
        self.display.step(entry, module.stage.steps)

    def _save(self, trainer: L.Trainer, module: StageBase) -> None:
        trainer.save_checkpoint(state_path(self.run, module.stage_index, trainer.global_step))
        if rank() == 0:
            prune(self.run)
            settings, step = module.settings, trainer.global_step
            steps = {"steps_done": settings.done(module.stage_index, step), "steps_planned": settings.planned}
            training = {**self.training, "step": step, **steps, "validation": module.validation}
            module.store(self.run / "model", training)
        self._saved = time.monotonic()

    def _write(self, entry: dict[str, Any]) -> None:
        stamped = {"time": round(time.time(), 3), **_rounded(entry)}
        path = self.run / "log.jsonl"
        try:
            with path.open("a") as file:
                file.write(json.dumps(stamped) + "\n")
        except OSError as error:
            raise IahvaeError(f"{path}: cannot be written: {error.strerror}") from error


def _position_of(kind: str, step: int, module: StageBase) -> dict[str, Any]:
    return {"kind": kind, "stage": module.stage_index, "grid": module.stage.size, "step": step}


def cut_log(run: Path, stage: int, step: int) -> None:
    """Take from the log of a run what came after a state: a run that goes on from there writes it again.

    The last line may be half a line, where the run was killed while it wrote.
    """
    path = run / "log.jsonl"
    if not path.is_file():
        return
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise IahvaeError(f"{path}: cannot be read as the log of a run ({error})") from None
    with atomic_path(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines if _position(line) <= (stage, step)))


def _position(line: str) -> tuple[float, float]:
    """Stage and step of a line of the log; beyond all for half a line."""
    try:
        entry = json.loads(line)
        return entry["stage"], entry["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf, math.inf


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None  # JSON knows no NaN
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value
