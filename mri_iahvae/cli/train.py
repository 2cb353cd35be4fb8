"""`mri-iahvae train`: a folder of fastMRI-schema files to a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mri_iahvae.cli.options import (
    EXISTING,
    FiniteRange,
    SectionedCommand,
    deterministic_option,
    device_option,
    devices_option,
    fields_of,
    num_nodes_option,
    reading_options,
    section,
    seed_option,
)
from mri_iahvae.cores import limit_threads
from mri_iahvae.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mri_iahvae.model.config import ModelConfig
    from mri_iahvae.training.settings import TrainSettings


def _number(name: str, default: float, help: str, metavar: str = "FLOAT", **bounds: Any) -> Any:  # noqa: ANN401, A002
    """An option that is a number within bounds, whole where its default is."""
    kind = click.IntRange(**bounds) if isinstance(default, int) else FiniteRange(**bounds)
    return click.option(name, type=kind, default=default, show_default=True, metavar=metavar, help=help)


@click.command(cls=SectionedCommand)
@click.argument("data", metavar="[DATA]", required=False, type=EXISTING)
@section("Run",
    click.option("-o", "--output", "run", metavar="RUN", type=click.Path(path_type=Path),
        show_default="runs/NAME-DATE, with the name of DATA",
        help="Folder of the run: states, model, log, pictures."),
    click.option("--resume", is_flag=True,
        help="Go on from the newest state in RUN, which knows data and options."),
    click.option("--from", "start", metavar="NAME|PATH",
        help="Start from the weights of a checkpoint; where the grid is larger, the model grows."),
    click.option("--domain", metavar="TEXT", show_default="the acquisitions that the files state",
        help="What the scans show, such as 'knee; PD, PD fat-suppressed'. It is stored with the weights, which warn "
        "of others."),
    click.option("--half", is_flag=True, help="Store the finished model in half precision, to ship it."),
)  # fmt: skip
@section("Reading", *reading_options,
    _number("--min-signal", 0.01,
        "Leave out slices with less energy than this fraction of their volume's largest; 0 keeps all.",
        min=0, max=1),
)  # fmt: skip
@section("Model and plan",
    click.option("--preset", metavar="NAME", show_default="small; with --from its model",
        help="Model: tiny, small, base or paper."),
    click.option("--grid", type=int, metavar="N", show_default="the preset's",
        help="Side of the grid: only the scales up to it."),
    click.option("--stages", metavar="GRID:STEPS[@SCALES],...",
        show_default="guide:3000,32:2000,64:1500,128:1300 up to the grid",
        help="Plan: the guide, then the hierarchy on growing grids; 128:600@16-128 trains scales 16 to 128 alone and "
        "holds the others."),
    _number("--batch", 16, "Slices per step, of all devices together.", "SLICES", min=1),
    _number("--rate", 2e-3, "Peak learning rate of each stage.", min=0, min_open=True),
)  # fmt: skip
@section("Hardware",
    device_option,
    click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
        help="Precision of the convolutions; bfloat16 saves time where the hardware has it."),
    devices_option,
    num_nodes_option,
)  # fmt: skip
@section("Validation and states",
    _number("--validate-every", 100, "Steps between validations.", "STEPS", min=1),
    _number("--save-every", 60.0, "Seconds between saved states: what a power cut costs at most.", "SECONDS", min=0),
)  # fmt: skip
@section("Expert",
    _number("--sigma", 0.1, "Final standard deviation of the likelihood, canonical units.", min=0, min_open=True),
    _number("--completion-weight", 1.0, "Weight of the completion-aware term.", min=0),
    _number("--masked-weight", 1.0, "Weight of the term that trains the encoder on imputed inputs.", min=0),
    _number("--resampled", 1.0, "Fraction of the slices that are zoomed, shifted and given another contrast.",
        min=0, max=1),
    seed_option,
    deterministic_option,
)  # fmt: skip
@click.pass_context
def train(
    ctx: click.Context,
    data: Path | None,
    run: Path | None,
    resume: bool,
    device: str,
    devices: int,
    num_nodes: int,
    deterministic: bool,
    **options: Any,  # noqa: ANN401 - each of its own type
) -> None:
    """Train a model on fully sampled k-space.

    DATA is a folder of fastMRI-schema HDF5 files, or one that holds singlecoil_train/ and singlecoil_val/, or
    multicoil_train/ and multicoil_val/: several coils are combined by their sensitivities.
    Ctrl-C and SIGTERM save the state and exit with 130; --resume goes on from there, also with other --devices.

    \b
    Examples:
      mri-iahvae train data/singlecoil
      mri-iahvae train data/singlecoil -o runs/first
      mri-iahvae train -o runs/first --resume
      mri-iahvae train data/singlecoil --from small --stages 128:600@16-128
    """
    if resume and run is None:
        raise UsageError("--resume: expected the folder of the run, as in `mri-iahvae train -o RUN --resume`")
    if not resume and data is None:
        raise UsageError("DATA: expected a folder of fully sampled scans, as in `mri-iahvae train DATA`")
    work = (run, data) if resume else (data, run, *_plan(options))
    limit_threads(devices)
    from mri_iahvae.cli.progress import training_display
    from mri_iahvae.pipeline.devices import compute_deterministically, find_device
    from mri_iahvae.processes import Processes, rank
    from mri_iahvae.scans.reader import Reading
    from mri_iahvae.tasks import train as tasks
    from mri_iahvae.training.run_record import RunRecord

    more = {name: options[name] for name in ("domain", "start", "min_signal")}
    more["reading"] = Reading(**fields_of(Reading, options))
    task: Callable[..., Path] = tasks.train
    if run is not None and resume:
        task, more = tasks.resume, {}
        record = RunRecord.read(run)
        record.require(run, _given(ctx, options))
        deterministic = deterministic or bool(record.provenance.get("deterministic"))
    where = find_device(device)
    if deterministic:
        compute_deterministically(where)
    with training_display() as display:
        folder = task(*work, **more, display=display, device=where, processes=Processes(devices, num_nodes))
    if rank() == 0:
        click.echo(folder)


def _given(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options on the command line, by their long names."""
    given = [name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return {param.opts[-1]: options[param.name] for param in ctx.command.params if param.name in given}


def _plan(options: dict[str, Any]) -> "tuple[ModelConfig, TrainSettings]":
    """The model: the preset, without one that of the checkpoint to start from. And all that decides the training."""
    from mri_iahvae.model.checkpoint_config import find_checkpoint, model_config
    from mri_iahvae.model.presets import guide_of, preset
    from mri_iahvae.training.settings import SMALLEST, TrainSettings, default_stages, parse_stages

    start, name, grid = None, options["preset"], options["grid"]
    if options["start"] is not None:
        try:
            start = model_config(find_checkpoint(options["start"]))
        except UsageError as error:
            raise UsageError(str(error).replace("--checkpoint", "--from")) from None
    config = start if start and not (name or grid) else preset(name or "small", grid=grid)
    first = SMALLEST if start is None else min(start.size, config.size)
    plan = options["stages"] or default_stages(
        config.size, grows=config.grows, first=first, guided=start is None
    )
    names = ("completion_weight", "masked_weight", "resampled", "validate_every", "precision", "half", "seed")
    return config, TrainSettings(
        parse_stages(plan, config.size, options["batch"], options["rate"], options["sigma"], first),
        save_seconds=options["save_every"],
        guide=guide_of(name),
        **{name: options[name] for name in names},
    )
