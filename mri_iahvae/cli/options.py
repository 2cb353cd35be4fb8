"""Options and types that several commands share."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` without NaN and infinity, which pass every comparison there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read a number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="auto (CUDA when there is one), cpu, cuda or cuda:N.",
)
devices_option = click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes per machine: one for each of N CUDA devices, or N on the CPU.",
)
num_nodes_option = click.option(
    "--num-nodes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Machines; the same command is started on each, by srun for example.",
)
checkpoint_option = click.option(
    "--checkpoint",
    metavar="NAME|PATH",
    default="small",
    show_default=True,
    help="A shipped model, or a folder with model.safetensors and config.json.",
)
batch_option = click.option(
    "--batch",
    type=click.IntRange(1, 4096),
    metavar="SLICES",
    show_default="8 on a CPU, 64 on CUDA",
    help="Slices at a time; halved when memory runs out.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed."
)
deterministic_option = click.option(
    "--deterministic",
    is_flag=True,
    help="The same bits each time on the same machine: on CUDA slower; a CPU does so anyway.",
)
coil_option = click.option(
    "--coil-combine",
    type=click.Choice(["rss", "sensitivity"]),
    show_default="rss",
    help="Image of several coils: root sum of squares of theirs, or their sum weighted by sensitivity.",
)
