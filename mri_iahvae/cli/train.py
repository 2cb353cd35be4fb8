"""`mri-iahvae train`: a folder of fastMRI-schema files to a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mri_iahvae.cli.options import (
    FiniteRange,
    deterministic_option,
    device_option,
    devices_option,
    num_nodes_option,
    seed_option,
)

if TYPE_CHECKING:
    from mri_iahvae.model.config import Decoder, Encoder, Heads
    from mri_iahvae.processes import Strategy
    from mri_iahvae.training.settings import Precision


@click.command()
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "run",
    metavar="RUN",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run: states, model, log, pictures.",
)
@click.option(
    "--preset", default="small", show_default=True, metavar="NAME", help="Model: tiny, small, base or paper."
)
@click.option(
    "--grid",
    type=int,
    metavar="N",
    default=None,
    show_default="the preset's",
    help="Side of the grid: only the scales up to it.",
)
@click.option(
    "--encoder",
    type=click.Choice(["causal", "bottom-up"]),
    default="causal",
    show_default=True,
    help="Coarse to fine, each scale from its own block of k-space; or the paper's, from full resolution down.",
)
@click.option(
    "--heads",
    type=click.Choice(["image", "spectral"]),
    default="image",
    show_default=True,
    help="What heads predict: images that are transformed, or k-space itself.",
)
@click.option(
    "--decoder",
    type=click.Choice(["separable", "ordinary"]),
    default="separable",
    show_default=True,
    help="A head per scale for its own band; or an ordinary HVAE, one head for all, with the bottom-up encoder.",
)
@click.option(
    "--no-details",
    is_flag=True,
    help="Without the networks by which small and base continue coarser bins at fine scales: as in the paper.",
)
@click.option("--resume", is_flag=True, help="Go on from the newest state in RUN.")
@click.option(
    "--stages",
    metavar="GRID:STEPS,...",
    default=None,
    help="Growth plan  [default: 32:2000,64:1500,128:1300, up to the grid; with a bottom-up encoder GRID:2000]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Slices per step, of all devices together.",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    default=2e-3,
    show_default=True,
    help="Peak learning rate.",
)
@click.option(
    "--sigma",
    type=FiniteRange(min=0, min_open=True),
    default=0.1,
    show_default=True,
    help="Final likelihood standard deviation, canonical units.",
)
@click.option(
    "--completion-weight",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of the completion-aware term.",
)
@click.option(
    "--masked-weight",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of the term that trains the encoder on inputs with filled holes.",
)
@click.option(
    "--validate-every",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="STEPS",
    help="Steps between validations.",
)
@click.option(
    "--save-every",
    type=FiniteRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between saved states: what a power cut costs at most.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Precision of the convolutions; bfloat16 saves time where the hardware has it.",
)
@click.option(
    "--domain",
    metavar="TEXT",
    default=None,
    show_default="the acquisitions that the files state",
    help="What the scans show, such as 'knee; PD, PD fat-suppressed': stored with the weights, which warn of others.",
)
@device_option
@devices_option
@num_nodes_option
@click.option(
    "--strategy",
    type=click.Choice(["auto", "ddp"]),
    default="auto",
    show_default=True,
    help="How processes share the training: Lightning's DDP; auto takes it where there are several.",
)
@deterministic_option
@seed_option
def train(
    data: Path,
    run: Path,
    preset: str,
    grid: int | None,
    encoder: "Encoder",
    heads: "Heads",
    decoder: "Decoder",
    no_details: bool,
    resume: bool,
    stages: str | None,
    batch: int,
    rate: float,
    sigma: float,
    completion_weight: float,
    masked_weight: float,
    validate_every: int,
    save_every: float,
    precision: "Precision",
    domain: str | None,
    device: str,
    devices: int,
    num_nodes: int,
    strategy: "Strategy",
    deterministic: bool,
    seed: int,
) -> None:
    """Train a model on fully sampled k-space.

    DATA is a folder of fastMRI-schema HDF5 files, or one that holds singlecoil_train/ and singlecoil_val/.
    Ctrl-C and SIGTERM save the state and exit with 130; --resume goes on from there, also with other --devices.

    \b
    Examples:
      mri-iahvae train data/singlecoil -o runs/first
      mri-iahvae train data/singlecoil -o runs/first --resume
      mri-iahvae train data/singlecoil -o runs/second --device cuda --devices 4
    """
    from mri_iahvae.cli.progress import training_display  # noqa: PLC0415 - torch must not load for --help
    from mri_iahvae.model.presets import preset as find_preset  # noqa: PLC0415
    from mri_iahvae.pipeline.devices import compute_deterministically, find_device  # noqa: PLC0415
    from mri_iahvae.processes import Processes, rank  # noqa: PLC0415
    from mri_iahvae.tasks.train import train as train_model  # noqa: PLC0415
    from mri_iahvae.training.settings import TrainSettings, default_stages, parse_stages  # noqa: PLC0415

    config = find_preset(
        preset, grid=grid, encoder=encoder, heads=heads, decoder=decoder, super_resolution=not no_details
    )
    stages = stages or default_stages(config.size, grows=config.grows)
    plan = parse_stages(stages, config.size, batch, rate, sigma)
    settings = TrainSettings(
        plan,
        completion_weight=completion_weight,
        masked_weight=masked_weight,
        validate_every=validate_every,
        save_seconds=save_every,
        precision=precision,
        seed=seed,
    )
    where = find_device(device)
    if deterministic:
        compute_deterministically(where)
    with training_display() as display:
        folder = train_model(
            data,
            run,
            config,
            settings,
            display=display,
            device=where,
            resume=resume,
            domain=domain,
            processes=Processes(devices, num_nodes, strategy),
        )
    if rank() == 0:
        click.echo(folder)
