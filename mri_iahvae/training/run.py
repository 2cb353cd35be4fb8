"""A training run: growth stages one after the other, each a Lightning fit, resumable at any step."""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from mri_iahvae.errors import CheckpointError, IahvaeError
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.augment import augment
from mri_iahvae.training.batches import CachedSlices, SliceSource, StepBatches, step_seed
from mri_iahvae.training.domain import measure_domain
from mri_iahvae.training.module import StageModule
from mri_iahvae.training.recorder import Display, Recorder
from mri_iahvae.training.settings import Precision, TrainSettings
from mri_iahvae.training.states import SafeStates, states
from mri_iahvae.training.statistics import canonical_batch, grow, measure

_MEASURED = 512  # slices that gains and core power are measured on
_VALIDATED = 64  # slices, spread over the held-out ones
_VALIDATION_BATCH = 16

_LIGHTNING: dict[Precision, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",  # autocast: weights, optimizer and average stay float32
}

Draw = Callable[..., None]  # (model, path, kspace=...)


def run_training(
    preset: ModelConfig,
    settings: TrainSettings,
    training: SliceSource,
    held_out: SliceSource,
    run: Path,
    *,
    device: torch.device,
    resume: bool,
    display: Display,
    draw: Draw,
    record: dict[str, Any],
    description: str = "",
) -> Path:
    """Train a model through all growth stages.

    Args:
        preset: configuration of the finished model; the last stage's size is its size.
        settings: of the run.
        training: fully sampled slices to learn from.
        held_out: fully sampled slices to validate on.
        run: folder of the run: `states/`, `model/` (averaged weights), `log.jsonl`, `pictures/`.
        device: to train on.
        resume: go on from the newest state in `run`.
        display: shows progress.
        draw: draws pictures of (model, canonical held-out k-space) to a path.
        record: what the checkpoint says of its training, beside the settings.
        description: anatomy and contrasts of the slices, in words.

    Returns:
        Folder of the finished checkpoint.

    Raises:
        KeyboardInterrupt: stopped by SIGINT, after the state was saved.
    """
    slices = CachedSlices(training)
    validation = _validation_batches(held_out)
    module, start, state = _resume(run, settings) if resume else (None, 0, None)
    for index in range(start, len(settings.stages)):
        if module is None or module.stage_index != index:
            module, state = _next_module(preset, settings, index, slices, module), None
        record_now = {**record, "settings": settings.to_json(), "stage": index}
        shown = canonical_batch(torch.cat(validation), module.model.size)
        recorder = Recorder(run, display, partial(draw, kspace=shown), record_now)
        _fit(module, slices, validation, recorder, device, state)
    if module is None:
        raise IahvaeError(f"{run}: nothing to train")
    finished = {"settings": settings.to_json(), "finished": True, "validation": module.validation}
    domain = measure_domain(module.average, held_out, description, device, settings.seed)
    save_model(module.average, run / "model", {**record, **finished}, domain=domain)
    return run / "model"


def _fit(
    module: StageModule,
    slices: CachedSlices,
    validation: list[torch.Tensor],
    recorder: Recorder,
    device: torch.device,
    state: Path | None,
) -> None:
    """Train one stage to its end, from `state` when given."""
    accelerator, devices = ("cpu", 1) if device.type == "cpu" else (device.type, [device.index or 0])
    interval = min(module.settings.validate_every, module.stage.steps)
    with _quiet_lightning():
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            precision=_LIGHTNING[module.settings.precision],
            max_steps=module.stage.steps,
            val_check_interval=interval,
            check_val_every_n_epoch=None,
            callbacks=[recorder],
            plugins=[SafeStates()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        # Built when the loop asks for it: by then Lightning has restored the step that the state was saved at.
        loader = _Loader(module, slices)
        held_out = DataLoader(cast("Dataset[torch.Tensor]", validation), batch_size=None)
        with _interruptible(recorder):
            try:
                trainer.fit(module, loader, held_out, ckpt_path=state)
                if module.stage.steps % interval:  # the stage's end has not been validated
                    trainer.validate(module, held_out, verbose=False)
                if recorder.stop:  # asked for in the last validation, after which no step ends
                    raise KeyboardInterrupt
            except SystemExit:  # how Lightning leaves after KeyboardInterrupt
                raise KeyboardInterrupt from None


class _Loader:
    """Iterates the batches from the module's current step on."""

    def __init__(self, module: StageModule, slices: CachedSlices) -> None:
        self._module, self._slices = module, slices

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        settings, stage = self._module.settings, self._module.stage
        # Stages draw different batches: the stage is part of the seed.
        seed = step_seed(settings.seed, self._module.stage_index, 0)
        return iter(
            StepBatches(self._slices, stage.batch, seed, self._module.global_step, self._module.global_rank)
        )


def _next_module(
    preset: ModelConfig,
    settings: TrainSettings,
    index: int,
    slices: CachedSlices,
    previous: StageModule | None,
) -> StageModule:
    """The module of a stage that starts afresh, or grows from the averaged weights of the stage before."""
    stage = settings.stages[index]
    if previous is None:
        torch.manual_seed(settings.seed)
        model, sigma_start = IAHVAE(preset.coarse(stage.size)), settings.sigma_start
    else:
        torch.manual_seed(settings.seed + index)
        model = grow(previous.average, preset.coarse(stage.size), previous.stage.sigma)
        sigma_start = model.config.sigma
    generator = torch.Generator().manual_seed(step_seed(settings.seed, index, 1))
    chosen = torch.randint(len(slices), (min(_MEASURED, 4 * len(slices)),), generator=generator).tolist()
    parts = [augment(slices.stack(chosen[i : i + 32]), generator) for i in range(0, len(chosen), 32)]
    measured = measure(canonical_batch(torch.cat(parts), stage.size), model.config)
    model.set_config(replace(measured, sigma=stage.sigma))
    return StageModule(model, settings, index, sigma_start)


def _resume(run: Path, settings: TrainSettings) -> tuple[StageModule, int, Path]:
    """Module of the newest readable state, the stage that it belongs to and its path."""
    failure: IahvaeError = IahvaeError(f"{run}: --resume found no state there; start without it")
    for stage, _, path in reversed(states(run)):
        try:
            state = SafeStates().load_checkpoint(path)
        except CheckpointError as error:  # of two states that are kept, one may be damaged
            failure = error
            continue
        model = IAHVAE(ModelConfig.from_json(state["model_config"]))
        module = StageModule(model, settings, stage, state["sigma_start"])
        module.load_state_dict(state["state_dict"])
        return module, stage, path
    raise failure


def _validation_batches(held_out: SliceSource) -> list[torch.Tensor]:
    """Held-out k-space in batches: the same slices all along, spread evenly."""
    count = min(_VALIDATED, len(held_out))
    chosen = [round(i * (len(held_out) - 1) / max(1, count - 1)) for i in range(count)]
    kspace = CachedSlices(held_out).stack(chosen)
    return list(kspace.split(_VALIDATION_BATCH))


@contextmanager
def _interruptible(recorder: Recorder) -> Iterator[None]:
    """The first SIGINT ends the run after the step at hand, its state saved; a second one ends it at once."""

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        recorder.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread, where no signal arrives either
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's banners and its advice on loaders that this program does not use are not for our users."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", module="torch.*")
            yield
    finally:
        logger.setLevel(level)
