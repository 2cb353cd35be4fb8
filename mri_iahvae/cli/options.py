"""Types, headings, and options of several commands."""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from mri_iahvae.errors import UsageError

MAX_SLICES = 16
"""Most slices in a figure: more take a minute to draw."""
MOST_STEPS = 10_000

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` without NaN and infinity, which pass every comparison there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


def steps(text: str) -> int | str:
    """Read a whole number from 0 on, or "auto"."""
    if text == "auto":
        return text
    if re.fullmatch(r"\d{1,5}", text) is None or int(text) > MOST_STEPS:
        raise click.BadParameter(f"{text!r} is neither a whole number from 0 to {MOST_STEPS} nor auto.")
    return int(text)


def slice_list(text: str) -> tuple[int, ...]:
    """Read slice numbers and ranges with both ends, such as "3,10,20" or "0-4": in that order, each once."""
    chosen: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())
        if match is None:
            raise click.BadParameter(f"{part.strip()!r} is neither a slice number nor a range such as 0-4.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise click.BadParameter(f"{part.strip()}: a range goes upwards, as in {last}-{first}.")
        chosen |= dict.fromkeys(range(first, last + 1))
        if len(chosen) > MAX_SLICES:
            raise click.BadParameter(f"{text} are more than {MAX_SLICES} slices; choose fewer.")
    return tuple(chosen)


def choice(text: str) -> tuple[str, int | str]:
    """Read a counter and a number, or all of its numbers, such as "contrast=1" or "repetition=all"."""
    match = re.fullmatch(r"([a-z]+)=(\d{1,5}|all)", text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a counter and a number, such as contrast=1, or all.")
    return match[1], match[2] if match[2] == "all" else int(match[2])


def choices(
    _: click.Context, __: click.Parameter, given: tuple[tuple[str, int | str], ...]
) -> dict[str, int | str]:
    """Numbers by counter."""
    if len(found := dict(given)) < len(given):
        raise click.BadParameter("one counter twice: choose one number of each, or all.")
    return found


def image_size(text: str) -> tuple[int, int]:
    """Read rows and columns, such as "320x320"."""
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip().lower())
    if match is None:
        raise click.BadParameter(f"{text!r} is not rows x columns, such as 320x320.")
    return int(match[1]), int(match[2])


def panel_list(text: str) -> tuple[str, ...]:
    """Read names such as "reference,error": in that order, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def compare_list(text: str) -> dict[str, float | None]:
    """Read names such as "tv,wavelet=0.3", with a weight where one is stated: in that order."""
    found: dict[str, float | None] = {}
    for part in text.split(","):
        name, stated, weight = part.strip().partition("=")
        if stated and (re.fullmatch(r"\d{1,4}(\.\d{0,9})?|\.\d{1,9}", weight) is None or float(weight) == 0):
            raise click.BadParameter(f"{part.strip()!r} is not a name and a weight above 0, such as tv=0.5.")
        if name in found:
            raise click.BadParameter(f"{name} twice: name each method once.")
        found[name] = float(weight) if stated else None
    return found


def zoom_box(text: str) -> tuple[int, int, int]:
    """Read row, column and side of a box, such as "60,40,48"."""
    match = re.fullmatch(r"(\d{1,5}),(\d{1,5}),([1-9]\d{0,4})", text.replace(" ", ""))
    if match is None:
        raise click.BadParameter(f"{text!r} is not row,column,side of a box in pixels, such as 60,40,48.")
    return int(match[1]), int(match[2]), int(match[3])


def device(text: str) -> str:
    """Read the name of a device; whether it is there PyTorch knows, which is not asked yet."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text) is None:
        raise UsageError(f"--device {text}: expected auto, cpu, cuda or cuda:N")
    return text


class SectionedCommand(click.Command):
    """A command that lists its options in `--help` under the headings that `section` gave them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each heading once, in the order of the first option under it; options without one come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        others = "Other options" if any(hasattr(p, "section") for p in self.params) else "Options"
        for parameter in sorted(self.get_params(ctx), key=lambda p: not hasattr(p, "section")):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                name, text = record
                # Click puts what it takes for a description of a default in brackets of its own.
                text = re.sub(r"\[default: \((.*?)\)", r"[default: \1", text)
                sections.setdefault(getattr(parameter, "section", others), []).append((name, text))
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def section(title: str, *options: Decorator) -> Decorator:
    """Decorator: options in this order, under one heading of the help of a `SectionedCommand`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
            command.__dict__["__click_params__"][-1].section = title
        return command

    return decorate


# fmt: off
device_option = click.option("--device", type=device, default="auto", show_default=True, metavar="DEVICE",
    help="auto (CUDA when there is one), cpu, cuda or cuda:N.")
devices_option = click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Processes per machine: one for each of N CUDA devices, or N on the CPU.")
num_nodes_option = click.option("--num-nodes", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Machines; the same command is started on each, by srun for example.")
checkpoint_option = click.option("--checkpoint", metavar="NAME|PATH", default="small", show_default=True,
    help="A shipped model, or a folder with model.safetensors and config.json.")
batch_option = click.option("--batch", type=click.IntRange(1, 4096), metavar="SLICES",
    show_default="8 on a CPU, 64 on CUDA", help="Slices at a time; halved when memory runs out.")
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="INT", default=0, show_default=True,
    help="Seed of everything that is drawn at random.")
deterministic_option = click.option("--deterministic", is_flag=True,
    help="The same bits each time on the same machine: slower on CUDA; a CPU always does so.")
noise_option = click.option("--noise", metavar="FLOAT", default=0.01, show_default=True, type=FiniteRange(min=0),
    help="Standard deviation of the noise per real and imaginary part, in units of the image's RMS.")
_AXES = click.Choice(["rows", "columns", "both"])
# Each has the name of a field of `Reading`.
reading_options = (
    click.option("--dataset", metavar="NAME", show_default="kspace",
        help="Dataset of k-space in HDF5 files, such as ksp or data/ksp; a group of ISMRMRD raw data."),
    click.option("--select", type=choice, multiple=True, callback=choices, metavar="COUNTER=N|all",
        help="Lines of ISMRMRD raw data that make the image, where there are several: of one contrast (echo), phase,"
        " repetition, set, average or encoding, such as contrast=1; all: averaged. Once for each counter."),
    click.option("--fftshift", type=_AXES, help="Move DC from the corner of k-space to its centre, along these axes."),
    click.option("--centre-image", type=_AXES, help="Move the image by half the field, along these axes."),
    click.option("--keep-outliers", is_flag=True, help="Take spikes in k-space as data."),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")

# No default here: an option that was not given must differ from one that was given and does not apply.
drawn_options = (
    click.option("--acceleration", metavar="INT", show_default="all are measured", type=click.IntRange(min=2),
        help="Keep about one k-space line in INT, drawn as the fastMRI challenge does."),
    click.option("--center-fraction", metavar="FLOAT", show_default="0.32 / acceleration",
        type=FiniteRange(0, 1, min_open=True, max_open=True),
        help="Fraction of the lines, around the centre of k-space, that are always kept."),
    click.option("--mask-type", show_default="random",
        type=click.Choice(["random", "equispaced", "magic", "poisson"]),
        help="How the others are drawn; poisson: single bins (needs sigpy, the extra poisson)."),
    click.option("--mask-axis", show_default="columns", type=click.Choice(["columns", "rows"]), help="Which lines."),
    click.option("--mask-seed", type=click.IntRange(0, 2**32 - 1), metavar="INT", show_default="the file's name",
        help="Seed of the mask."),
)
# fmt: on


class _Existing(click.Path):
    """As `click.Path`, and a BART pair by its bare name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            with suppress(click.BadParameter):
                return super().convert(f"{value}.cfl", param, ctx)
            raise


EXISTING: Any = _Existing(exists=True, path_type=Path)
"""A file or folder to read; one that is missing is wrong usage."""
EXISTING_FILE: Any = _Existing(exists=True, dir_okay=False, path_type=Path)
"""The same without folders."""


def output_option(default: str) -> Decorator:
    """`--output`, a folder of results."""
    kind: Any = click.Path(path_type=Path)
    text = "Folder of the results."
    return click.option(
        "-o", "--output", metavar="DIR", default=default, show_default=True, type=kind, help=text
    )


def fields_of(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that are fields of a dataclass."""
    return {field.name: options[field.name] for field in fields(kind) if field.name in options}
