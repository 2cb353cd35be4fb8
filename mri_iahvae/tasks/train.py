"""Train a model on a folder of fully sampled fastMRI-schema files."""

from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import datetime
from itertools import count
from pathlib import Path

import lightning
import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.files import folder_of_one_run, make_folder
from mri_iahvae.kspace.bands import block_mask, crop, embed
from mri_iahvae.kspace.canonical import CORE
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.checkpoint_config import COARSE, find_checkpoint, read_config
from mri_iahvae.model.coarse_file import load_coarse, save_coarse
from mri_iahvae.model.config import COUPLES, ModelConfig
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.training_data import MIN_SIGNAL, TrainingData
from mri_iahvae.processes import ALONE, Processes, joined, of_the_first, rank
from mri_iahvae.results.figures import grid_figure
from mri_iahvae.results.kl_figure import kl_figure
from mri_iahvae.results.provenance import provenance
from mri_iahvae.scans.reader import AS_STORED, Reading
from mri_iahvae.training.calibration import calibrate_and_save
from mri_iahvae.training.objective import complete, posterior_pass
from mri_iahvae.training.recorder import Display
from mri_iahvae.training.run import run_training
from mri_iahvae.training.run_record import RunRecord, untrained
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.states import states
from mri_iahvae.words import counted


def train(
    data: str | Path,
    run: str | Path | None,
    preset: ModelConfig,
    settings: TrainSettings,
    *,
    display: Display,
    device: torch.device,
    domain: str | None = None,
    start: str | Path | None = None,
    reading: Reading = AS_STORED,
    min_signal: float = MIN_SIGNAL,
    processes: Processes = ALONE,
) -> Path:
    """Train a model, and return the folder of its checkpoint.

    Args:
        data: folder of fully sampled fastMRI-schema files; readout oversampling is removed, several coils are
            combined by their sensitivities, and the central bins, as many as the model's grid has, are trained on. Or a
            folder with `singlecoil_train/` and `singlecoil_val/` (or `multicoil_...`). Without the latter every tenth
            file validates.
        run: folder for everything that the run writes; the finished model is `run/model`. None: a new folder
            `runs/<name of the data>-<date>`.
        preset: the model.
        settings: of the training.
        display: shows progress.
        device: to train on.
        domain: anatomy and contrasts, in words, stored with the weights; None: the acquisitions that the files
            state.
        start: checkpoint whose weights the training starts from, a folder or a shipped name; where the first stage's
            grid is larger, the model grows.
        reading: how the files are read.
        min_signal: leave out slices with less energy than this fraction of their volume's largest.
        processes: of the run; the program that calls is started again for each. Settings do not depend on
            them, and neither do results beyond rounding.

    Raises:
        UsageError: `run` holds another run, or one that is going on; no such folder of data; stages that the model
            cannot be trained in; or a start that is not the coarse part of the model.
        ScanError: a file cannot be used for training.
        CheckpointError: `start` cannot be read.
        IahvaeError: too many steps in a row were not finite, or `run` cannot be written to; the last state stays.
        KeyboardInterrupt: stopped by SIGINT or SIGTERM, the state is saved; its text names the step.
    """
    opened = TrainingData.open(Path(data), preset.size, reading, min_signal)
    _require_trainable(preset, settings, processes.count)
    model, guide, source = None, None, {}
    if start is not None:
        model, digest = load_model(start)
        _require_start(model, preset, settings, str(start))
        source = {"start_sha256": digest}
        guide, _ = load_guide(start) or (None, "")
    elif all(stage.guide for stage in settings.stages):
        raise UsageError(
            "--stages: the guide alone is no model; add stages of a grid, or --from a checkpoint"
        )
    record = RunRecord(
        untrained(preset),
        settings,
        str(opened.folder.resolve()),
        opened.counts,
        domain,
        None if start is None else str(start),
        {
            **provenance(device),
            "lightning": lightning.__version__,
            "processes": processes.count,
            "reading": asdict(reading),
            "min_signal": min_signal,
            **source,
        },
    )

    folder = None if run is None else Path(run)
    return _run(record, opened, folder, display, device, processes, start=model, start_guide=guide)


def resume(
    run: str | Path,
    data: str | Path | None = None,
    *,
    display: Display,
    device: torch.device,
    processes: Processes = ALONE,
) -> Path:
    """Go on training, from the newest state of a run; arguments as in `train`.

    `data` is given where the slices have moved; device and number of processes may differ from those of the start.

    Raises:
        UsageError: no run with a saved state in `run`, or one that is going on; or other data.
        ScanError, IahvaeError, KeyboardInterrupt: as `train`.
    """
    run = Path(run)
    record = RunRecord.read(run)
    reading = Reading(**record.provenance.get("reading", {}))
    folder = Path(record.data if data is None else data)
    opened = TrainingData.open(folder, record.model.size, reading, record.provenance.get("min_signal", 0.0))
    if opened.counts != record.slices:
        expected, found = (
            f"{counted(training, 'slice')} and {held} held out"
            for training, held in (record.slices, opened.counts)
        )
        raise UsageError(
            f"{opened.folder}: expected the data that the run started with, {expected}; found {found}"
        )
    _require_trainable(record.model, record.settings, processes.count)
    return _run(record, opened, run, display, device, processes, resume=True)


def calibrate(
    checkpoint: str | Path, data: str | Path, target: Path, *, domain: str | None = None, half: bool = False
) -> None:
    """Measure again what the end of a training measures of a model, on the held-out slices of a folder.

    Args:
        checkpoint: folder or shipped name; its weights stay what they are.
        data: as for `train`.
        target: folder of the checkpoint that is written; `checkpoint` itself may be replaced.
        domain: anatomy and contrasts, in words; None: as the checkpoint has it, or the files state.
        half: store the weights in half precision, to ship them.
    """
    model, _ = load_model(checkpoint)
    known = load_domain(checkpoint)
    training = read_config(find_checkpoint(checkpoint))["training"]
    opened = TrainingData.open(Path(data), model.size)
    stated = opened.description if known is None else known.description
    description = stated if domain is None else domain
    guide, _ = load_guide(checkpoint) or (None, "")
    coarse, _ = load_coarse(checkpoint) or (None, "")
    calibrate_and_save(
        model, guide, target, training, opened.held_out, description, torch.device("cpu"), half=half
    )
    if coarse is not None:
        save_coarse(coarse, target)
    else:
        (target / COARSE).unlink(missing_ok=True)  # of another model


def _run(
    record: RunRecord,
    opened: TrainingData,
    folder: Path | None,
    display: Display,
    device: torch.device,
    processes: Processes,
    *,
    start: IAHVAE | None = None,
    start_guide: Guide | None = None,
    resume: bool = False,
) -> Path:
    """Run in all processes; the first one makes the folder and keeps other runs out."""
    with joined(processes, device) as own_device, ExitStack() as lock:
        run = folder or of_the_first(lambda: _new_folder(Path(record.data).name))
        if rank() == 0:
            make_folder(run)
            lock.enter_context(folder_of_one_run(run))
            if not resume:
                record.write(run)
        try:
            return run_training(
                record.model,
                record.settings,
                opened.training,
                opened.held_out,
                run,
                device=own_device,
                resume=resume,
                display=display,
                draw=_pictures,
                # A checkpoint does not name the path of its data.
                record={
                    **record.provenance,
                    "data": Path(record.data).name,
                    "training_files": len(opened.training.scans),
                    "training_slices": record.slices[0],
                },
                description=opened.description if record.domain is None else record.domain,
                start=start,
                start_guide=start_guide,
                processes=processes,
                warnings=[f"{opened.folder}: {text}" for text in opened.warnings],
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(run, record.settings)) from None


def _new_folder(name: str) -> Path:
    """Make a new folder `runs/<name>-<date>`, with a number where there is one of that minute."""
    stem = f"{name or 'data'}-{datetime.now():%Y-%m-%d-%H%M}"
    make_folder(Path("runs"))
    for number in count(1):
        folder = Path("runs", stem if number == 1 else f"{stem}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            break
    return folder


def _interrupted(run: Path, settings: TrainSettings) -> str:
    if not (saved := states(run)):
        return ""
    stage, step, _ = saved[-1]
    place = f"step {settings.done(stage, step)} of {settings.planned}"
    return f"Interrupted at {place} in {run}; `mri-iahvae train -o {run} --resume` goes on"


def _require_trainable(preset: ModelConfig, settings: TrainSettings, count: int) -> None:
    stages = [stage for stage in settings.stages if not stage.guide]
    if stages and COUPLES[preset.decomposition]:
        raise UsageError(
            f"the model's scales ({preset.decomposition}) are coupled by the masks of training; expected bands of "
            "k-space (fourier)"
        )
    if not preset.grows and stages and (len(stages) > 1 or stages[0].scales is not None):
        raise UsageError(
            "--stages: a model with a bottom-up encoder cannot grow or hold scales, because its finest scale feeds all "
            f"others; expected one stage, such as {preset.size}:2000"
        )
    for stage in settings.stages:
        # Each process needs as many slices of each batch, and of the half that the second term is computed on.
        if count > 1 and stage.batch % (2 * count):
            raise UsageError(
                f"--batch {stage.batch}: expected a multiple of {2 * count}, two slices for each of the {count} "
                "processes that share it"
            )


def _require_start(model: IAHVAE, preset: ModelConfig, settings: TrainSettings, start: str) -> None:
    first = next((stage.size for stage in settings.stages if not stage.guide), preset.size)
    if model.size > first:
        raise UsageError(
            f"--from {start}: its grid is {model.size}, larger than that of the first stage, {first}"
        )
    if untrained(model.config) != untrained(preset.coarse(model.size)):
        raise UsageError(
            f"--from {start}: its scales are not those of the model to be trained; expected a checkpoint of the same "
            "--preset"
        )


def _pictures(model: IAHVAE, path: Path, title: str, kspace: Tensor) -> None:
    """The picture of a validation, and the figure of all divergences so far beside it."""
    _draw(model, path, title, kspace)
    kl_figure(path.with_name("kl.png"), path.parent.parent / "log.jsonl")


@torch.no_grad()
def _draw(model: IAHVAE, path: Path, title: str, kspace: Tensor) -> None:
    """Reference, amortized reconstruction, zero-filled and completed images of two blocks, and prior samples.

    Slices without anatomy show nothing: of those with it the central bins hold most of the energy.
    """
    power = kspace.abs().square()
    central = (power * block_mask(min(CORE, model.size), model.size, device=kspace.device)).sum(dim=(1, 2))
    anatomy = central > power.sum(dim=(1, 2)) / 2
    kspace = kspace[anatomy] if anatomy.any() else kspace
    kspace = kspace[:: max(1, len(kspace) // 6)][:6].to(model.gains.device)
    columns = {"reference": kspace, "amortized": posterior_pass(model, kspace).bins}
    for cut in (len(model.gains) - 3, len(model.gains) - 4):
        s = 2**cut
        columns[f"zero-filled {s}x{s}"] = embed(crop(kspace, s), model.size)
        columns[f"from {s}x{s}"] = complete(model, kspace, s)
    noise = torch.Generator(kspace.device).manual_seed(0)
    columns["prior samples"] = complete(model, kspace, 0, noise)
    images = [ifft2c(bins).abs().cpu().numpy() for bins in columns.values()]
    grid_figure(path, [list(row) for row in zip(*images, strict=True)], list(columns), title)
