"""A training run: stages one after the other, each a Lightning fit, resumable at any step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from mri_iahvae.errors import CheckpointError, IahvaeError
from mri_iahvae.model.checkpoint import load_model, save_model
from mri_iahvae.model.checkpoint_config import read_config
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_file import load_guide, save_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.processes import ALONE, TIMEOUT, Processes, cluster_plugins, quiet_lightning, rank
from mri_iahvae.training.augment import augmented
from mri_iahvae.training.calibration import calibrate_and_save
from mri_iahvae.training.guide_module import GuideModule
from mri_iahvae.training.interruption import Interruption
from mri_iahvae.training.module import StageModule
from mri_iahvae.training.recorder import Display, Recorder, cut_log
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.slices import CachedSlices, SliceSource, StepBatches, step_seed
from mri_iahvae.training.stage import StageBase
from mri_iahvae.training.states import SafeStates, states
from mri_iahvae.training.statistics import canonical_batch, grow, measure
from mri_iahvae.words import counted

_MEASURED = 512  # slices that gains and core power are measured on
_VALIDATED = 64  # slices, spread over the held-out ones
_VALIDATION_BATCH = 16

_LIGHTNING: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",  # autocast: weights, optimizer and average stay float32
}

Draw = Callable[..., None]  # (model, path, title, kspace=...)


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
    start: IAHVAE | None = None,
    start_guide: Guide | None = None,
    processes: Processes = ALONE,
    warnings: Sequence[str] = (),
) -> Path:
    """Train a model, `preset`, through all stages; returns the folder of the finished checkpoint.

    The folder `run` gets `states/`, `model/` (averaged weights), `log.jsonl` and `pictures/`, which `draw` makes of
    held-out slices; a run is resumed from its newest state. The first stage starts from the weights of `start`, whose
    scales are the coarsest of `preset`; the guide's stage from `start_guide`, which stays as it is where there is none.
    Several processes, joined by `processes.joined`, call it alike and share each batch; the first one writes. The
    checkpoint has `record` of its training, and `description` of its slices.

    Raises:
        KeyboardInterrupt: stopped by SIGINT or SIGTERM, after the state was saved.
        IahvaeError: too many steps in a row were not finite, or a file cannot be written.
    """
    module, (first, step), state = _resume(run, settings) if resume else (None, (0, 0), None)
    done = settings.done(first, step) if resume else 0
    finished = done >= settings.planned
    if rank() == 0:
        goes = "is finished already" if finished else f"goes on from step {done}" if resume else "starts"
        text = (
            f"{run}: {goes}, {counted(settings.planned, 'step')} in all; "
            f"{counted(len(training), 'slice')} to train on, {len(held_out)} held out"
        )
        display.begin("\n".join([text, *(f"Warning: {warning}" for warning in warnings)]))
    if finished and _is_stored(run):
        return run / "model"
    if not resume and rank() == 0:  # what no stage trains is part of the finished model
        if start is not None:
            save_model(start, run / "model", record)
        if start_guide is not None:
            save_guide(start_guide, run / "model", record)
    slices = CachedSlices(training)
    validation = _validation_batches(held_out)
    for index in range(first, len(settings.stages)):
        if module is None or module.stage_index != index:
            if settings.stages[index].guide:
                module = _guide_module(settings, index, module, start_guide)
            else:
                before = module.average if isinstance(module, StageModule) else start or _stored_model(run)
                module = _next_module(preset, settings, index, slices, before)
            state = None
        record_now = {**record, "settings": settings.to_json(), "stage": index}
        pictures = None
        if isinstance(module, StageModule):
            shown = canonical_batch(torch.cat(validation), module.model.size)
            pictures = partial(draw, module.average, kspace=shown)
        recorder = Recorder(run, display, pictures, record_now)
        _fit(module, slices, validation, recorder, device, state, processes)
    assert module is not None  # noqa: S101 - there is a stage
    if int(module.skipped) >= module.stage.steps:
        why = "because its loss or gradient was too large"
        raise IahvaeError(f"{run}: every step of the last stage was skipped, {why}")
    if rank() == 0:
        made = {**record, "settings": settings.to_json(), "finished": True, "validation": module.validation}
        model = module.average if isinstance(module, StageModule) else load_model(run / "model")[0]
        guide, _ = load_guide(run / "model") or (None, "")
        seen = sum(stage.steps * stage.batch for stage in settings.stages if stage.guide)
        more: dict[str, Any] = {"slices": slices, "seen": seen, "seed": settings.seed, "half": settings.half}
        calibrate_and_save(model, guide, run / "model", made, held_out, description, device, **more)
    return run / "model"


def _stored_model(run: Path) -> IAHVAE | None:
    """The hierarchy that the run started from, where it is resumed before a stage that trains scales."""
    stored = (run / "model" / "config.json").is_file()
    return load_model(run / "model")[0].requires_grad_() if stored else None


def _guide_module(
    settings: TrainSettings, index: int, module: StageBase | None, start: Guide | None
) -> GuideModule:
    torch.manual_seed(settings.seed + index)
    guide = Guide(settings.guide)
    before = module.average if isinstance(module, GuideModule) else start
    if before is not None:
        guide = Guide(before.config)
        guide.load_state_dict(before.state_dict())
    return GuideModule(guide, settings, index)


def _is_stored(run: Path) -> bool:
    """Whether the model of the last step is there, with what is measured of it."""
    try:
        return bool(read_config(run / "model")["training"].get("finished"))
    except CheckpointError:
        return False


def _fit(
    module: StageBase,
    slices: CachedSlices,
    validation: list[torch.Tensor],
    recorder: Recorder,
    device: torch.device,
    state: Path | None,
    processes: Processes = ALONE,
) -> None:
    with quiet_lightning(), Interruption(recorder) as interruption:
        trainer = L.Trainer(
            **_hardware(device, processes),
            use_distributed_sampler=False,  # every process sees each batch, and takes its shard
            precision=_LIGHTNING[module.settings.precision],
            max_steps=module.stage.steps,
            val_check_interval=min(module.settings.validate_every, module.stage.steps),
            check_val_every_n_epoch=None,
            callbacks=[recorder, interruption],
            plugins=[SafeStates(), *cluster_plugins()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        batches = StepBatches(
            slices,
            Shard.of_this_process(module.stage.batch),
            step_seed(module.settings.seed, module.stage_index, 0),  # another one for each stage
            lambda: module.global_step,  # which Lightning has restored by then
        )
        held_out = DataLoader(cast("Dataset[torch.Tensor]", validation), batch_size=None)
        try:
            trainer.fit(module, batches, held_out, ckpt_path=state)
            # The last interval was shorter, or the state of the stage's end was resumed.
            if module.validated != module.stage.steps:
                trainer.validate(module, held_out, verbose=False)
            # Asked for in the last validation, after which no step ends.
            if trainer.strategy.reduce_boolean_decision(recorder.stop, all=False):
                raise KeyboardInterrupt
        except SystemExit:  # how Lightning leaves after KeyboardInterrupt
            raise KeyboardInterrupt from None


def _hardware(device: torch.device, processes: Processes) -> dict[str, Any]:
    if processes.count > 1:
        return {
            "accelerator": device.type,
            "devices": processes.devices,
            "num_nodes": processes.num_nodes,
            # Buffers are constants, or counted alike everywhere.
            "strategy": DDPStrategy(broadcast_buffers=False, timeout=TIMEOUT),
        }
    if device.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": device.type, "devices": [device.index or 0]}


def _next_module(
    preset: ModelConfig, settings: TrainSettings, index: int, slices: CachedSlices, before: IAHVAE | None
) -> StageModule:
    """The module of a stage that starts afresh, or from the model `before` it, grown to the stage's grid."""
    stage = settings.stages[index]
    target = preset.coarse(stage.size)
    torch.manual_seed(settings.seed + index)
    if before is None:
        model, sigma_start = IAHVAE(target), settings.sigma_start
    else:
        model = grow(before, target, before.config.sigma)
        sigma_start = model.config.sigma
    generator = torch.Generator().manual_seed(step_seed(settings.seed, index, 1))
    kspace = torch.cat(list(augmented(slices, min(_MEASURED, 4 * len(slices)), generator)))
    measured = measure(canonical_batch(kspace, stage.size), model.config)
    model.set_config(replace(measured, sigma=stage.sigma))
    return StageModule(model, settings, index, sigma_start)


def _resume(run: Path, settings: TrainSettings) -> tuple[StageBase, tuple[int, int], Path]:
    failure: IahvaeError = IahvaeError(f"{run}: --resume found no state there; start without it")
    for stage, step, path in reversed(states(run)):
        try:
            state = SafeStates().load_checkpoint(path)
        except CheckpointError as error:  # of two states that are kept, one may be damaged
            failure = error
            continue
        module: StageBase
        if settings.stages[stage].guide:
            module = GuideModule(Guide(GuideConfig.from_json(state["model_config"])), settings, stage)
        else:
            model = IAHVAE(ModelConfig.from_json(state["model_config"]))
            module = StageModule(model, settings, stage, state["sigma_start"])
        module.load_state_dict(state["state_dict"])
        if rank() == 0:
            cut_log(run, stage, step)
        return module, (stage, step), path
    raise failure


def _validation_batches(held_out: SliceSource) -> list[torch.Tensor]:
    """Held-out k-space in batches: the same slices all along, spread evenly."""
    count = min(_VALIDATED, len(held_out))
    chosen = [round(i * (len(held_out) - 1) / max(1, count - 1)) for i in range(count)]
    kspace = CachedSlices(held_out).stack(chosen)
    return list(kspace.split(_VALIDATION_BATCH))
