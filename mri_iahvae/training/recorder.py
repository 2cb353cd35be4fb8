"""What a run writes and shows while it trains: log, states, model, pictures, progress."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch

from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.module import StageModule
from mri_iahvae.training.states import prune, state_path

_LOG_STEPS = 10


class Display(Protocol):
    """Shows progress to a person."""

    def step(self, entry: dict[str, Any], total: int) -> None:
        """One logged step of `total`."""

    def validation(self, entry: dict[str, Any]) -> None:
        """One validation."""


class Recorder(L.Callback):
    """Lightning callback that keeps the record of one stage.

    Args:
        run: folder of the run.
        display: shows progress.
        draw: draws pictures of a model to a path.
        training: record for the checkpoint.
    """

    def __init__(
        self, run: Path, display: Display, draw: Callable[[IAHVAE, Path], None], training: dict[str, Any]
    ) -> None:
        self.run = run
        self.display = display
        self.draw = draw
        self.training = training
        self.stop = False
        self._saved = self._logged = time.monotonic()
        self._slices = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save at once: whatever happens next, the run can be resumed."""
        if trainer.global_step == 0:
            self._save(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Log, show, save when it is time or the run is asked to stop."""
        assert isinstance(pl_module, StageModule)  # noqa: S101 - narrows the type, not a check of input
        self._slices += pl_module.stage.batch
        done = trainer.global_step >= pl_module.stage.steps
        if trainer.global_step % _LOG_STEPS == 0 or done:
            self._log_step(trainer.global_step, pl_module)
        late = time.monotonic() - self._saved > pl_module.settings.save_seconds
        if late or done or self.stop:
            self._save(trainer, pl_module)
        if self.stop:
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log, show, draw."""
        assert isinstance(pl_module, StageModule)  # noqa: S101
        entry = {
            "kind": "validation",
            "stage": pl_module.stage_index,
            "grid": pl_module.model.size,
            "step": trainer.global_step,
            **pl_module.validation,
        }
        self._write(entry)
        self.display.validation(entry)
        name = f"grid{pl_module.model.size:03d}-step{trainer.global_step:06d}.png"
        self.draw(pl_module.average, self.run / "pictures" / name)

    def _log_step(self, step: int, module: StageModule) -> None:
        now = time.monotonic()
        entry: dict[str, Any] = {
            "kind": "step",
            "stage": module.stage_index,
            "grid": module.model.size,
            "step": step,
            "slices_per_second": self._slices / max(1e-9, now - self._logged),
            "skipped": int(module.skipped),
        }
        for key, value in module.statistics.items():
            entry[key] = float(value) if isinstance(value, torch.Tensor) else value
        self._logged, self._slices = now, 0
        self._write(entry)
        self.display.step(entry, module.stage.steps)

    def _save(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, StageModule)  # noqa: S101
        trainer.save_checkpoint(state_path(self.run, module.stage_index, trainer.global_step))
        prune(self.run)
        training = {**self.training, "step": trainer.global_step, "validation": module.validation}
        save_model(module.average, self.run / "model", training)
        self._saved = time.monotonic()

    def _write(self, entry: dict[str, Any]) -> None:
        stamped = {"time": round(time.time(), 3), **_rounded(entry)}
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(stamped) + "\n")


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value
