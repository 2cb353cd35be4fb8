"""A training run: growth stages one after the other, each a Lightning fit, resumable at any step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from mri_iahvae.errors import CheckpointError, IahvaeError
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.checkpoint_config import read_config
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.processes import ALONE, TIMEOUT, Processes, cluster_plugins, quiet_lightning, rank
from mri_iahvae.training.augment import augment
from mri_iahvae.training.batches import CachedSlices, SliceSource, StepBatches, step_seed
from mri_iahvae.training.dispersion import measure_dispersion
from mri_iahvae.training.domain import measure_domain
from mri_iahvae.training.module import StageModule
from mri_iahvae.training.recorder import Display, Recorder, cut_log
from mri_iahvae.training.settings import Precision, TrainSettings
from mri_iahvae.training.share import Share, anywhere
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
    processes: Processes = ALONE,
) -> Path:
    """Train a model through all growth stages.

    Several processes, joined by `processes.joined`, call it alike and share each batch; the first one writes.

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
        processes: that share the run.

    Returns:
        Folder of the finished checkpoint.

    Raises:
        KeyboardInterrupt: stopped by SIGINT or SIGTERM, after the state was saved.
        IahvaeError: too many steps in a row were not finite, or a file cannot be written.
    """
    module, (start, step), state = _resume(run, settings) if resume else (None, (0, 0), None)
    done = settings.done(start, step) if resume else 0
    finished = done >= settings.planned
    if rank() == 0:
        goes = f"goes on from step {done}" if resume else "starts"
        goes = "is finished already" if finished else goes
        display.begin(
            f"{run}: {goes}, {settings.planned} steps in all; {len(training)} slices to train on, "
            f"{len(held_out)} held out"
        )
    if finished and _is_stored(run):
        return run / "model"
    slices = CachedSlices(training)
    validation = _validation_batches(held_out)
    for index in range(start, len(settings.stages)):
        if module is None or module.stage_index != index:
            module, state = _next_module(preset, settings, index, slices, module), None
        record_now = {**record, "settings": settings.to_json(), "stage": index}
        shown = canonical_batch(torch.cat(validation), module.model.size)
        recorder = Recorder(run, display, partial(draw, kspace=shown), record_now)
        _fit(module, slices, validation, recorder, device, state, processes)
    if module is None:
        raise IahvaeError(f"{run}: nothing to train")
    if rank():
        return run / "model"
    told = {"settings": settings.to_json(), "finished": True, "validation": module.validation}
    domain = measure_domain(module.average, held_out, description, device, settings.seed)
    spread = measure_dispersion(module.average, held_out, device, settings.seed)
    module.average.set_config(replace(module.average.config, dispersion=spread))
    save_model(module.average, run / "model", {**record, **told}, domain=domain)
    return run / "model"


def _is_stored(run: Path) -> bool:
    """Whether the model of the last step is there, with what is measured of it."""
    try:
        return bool(read_config(run / "model")["training"].get("finished"))
    except CheckpointError:
        return False


def _fit(
    module: StageModule,
    slices: CachedSlices,
    validation: list[torch.Tensor],
    recorder: Recorder,
    device: torch.device,
    state: Path | None,
    processes: Processes = ALONE,
) -> None:
    """Train one stage to its end, from `state` when given."""
    interval = min(module.settings.validate_every, module.stage.steps)
    with quiet_lightning(), _interruptible(recorder) as handler:
        trainer = L.Trainer(
            **_hardware(device, processes),
            use_distributed_sampler=False,  # every process sees each batch, and takes its rows
            precision=_LIGHTNING[module.settings.precision],
            max_steps=module.stage.steps,
            val_check_interval=interval,
            check_val_every_n_epoch=None,
            callbacks=[recorder, handler],
            plugins=[SafeStates(), *cluster_plugins()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        # Built when the loop asks for it: by then Lightning has restored the step that the state was saved at.
        loader = _Loader(module, slices)
        held_out = DataLoader(cast("Dataset[torch.Tensor]", validation), batch_size=None)
        try:
            trainer.fit(module, loader, held_out, ckpt_path=state)
            # The last interval was shorter, or the state of the stage's end was resumed.
            if module.validated != module.stage.steps:
                trainer.validate(module, held_out, verbose=False)
            (stop,) = anywhere(recorder.stop, device=module.device)
            if stop:  # asked for in the last validation, after which no step ends
                raise KeyboardInterrupt
        except SystemExit:  # how Lightning leaves after KeyboardInterrupt
            raise KeyboardInterrupt from None


def _hardware(device: torch.device, processes: Processes) -> dict[str, Any]:
    """What Lightning's Trainer computes on."""
    if processes.joined:
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


class _Loader:
    """Iterates the batches from the module's current step on."""

    def __init__(self, module: StageModule, slices: CachedSlices) -> None:
        self._module, self._slices = module, slices

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        settings, stage = self._module.settings, self._module.stage
        # Stages draw different batches: the stage is part of the seed.
        seed = step_seed(settings.seed, self._module.stage_index, 0)
        share = Share.of_this_process(stage.batch)
        return iter(StepBatches(self._slices, share, seed, self._module.global_step))


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


def _resume(run: Path, settings: TrainSettings) -> tuple[StageModule, tuple[int, int], Path]:
    """Module of the newest readable state, its stage and step, and its path."""
    failure: IahvaeError = IahvaeError(f"{run}: --resume found no state there; start without it")
    for stage, step, path in reversed(states(run)):
        try:
            state = SafeStates().load_checkpoint(path)
        except CheckpointError as error:  # of two states that are kept, one may be damaged
            failure = error
            continue
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


class _Handler(L.Callback):
    """Takes SIGTERM back from Lightning, whose handler talks to the other processes in the middle of whatever it
    interrupts.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None] | None) -> None:
        self._handler = handler

    def on_train_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's trainer and module
        """The first hook after Lightning has set its own."""
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    def on_validation_start(self, *_: Any) -> None:  # noqa: ANN401
        """The first one where only validation runs."""
        self.on_train_start()


@contextmanager
def _interruptible(recorder: Recorder) -> Iterator[_Handler]:
    """The first SIGINT or SIGTERM ends the run after the step at hand, its state saved; a second one at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if recorder.stop:
            signal.default_int_handler(number, frame)
        recorder.stop = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where no signal arrives either
        yield _Handler(None)
        return
    try:
        yield _Handler(ask)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
