"""Options that say what else is written beside a result."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

MAX_SLICES = 16
"""A figure of more takes a minute to draw."""


class SliceList(click.ParamType):
    """Slice numbers and ranges with both ends, such as "3,10,20" or "0-4": a tuple, in that order, each once."""

    name = "slices"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        chosen: dict[int, None] = {}
        for part in value.split(","):
            match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())
            if match is None:
                self.fail(f"{part.strip()!r} is neither a slice number nor a range such as 0-4.", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"{part.strip()}: a range goes upwards, as in {last}-{first}.", param, ctx)
            chosen |= dict.fromkeys(range(first, last + 1))
            if len(chosen) > MAX_SLICES:
                self.fail(f"{value} are more than {MAX_SLICES} slices; choose fewer.", param, ctx)
        return tuple(chosen)


class ImageSize(click.ParamType):
    """Rows and columns, such as "320x320": a tuple."""

    name = "size"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", value.strip().lower())
        if match is None:
            self.fail(f"{value!r} is not rows x columns, such as 320x320.", param, ctx)
        return int(match[1]), int(match[2])


_OPTIONS = (
    click.option(
        "--image-size",
        type=ImageSize(),
        metavar="HxW",
        show_default="of the reference, else the header's reconSpace, else of k-space",
        help="Size that the image is cropped to; rows beyond it and the header's reconSpace are readout oversampling.",
    ),
    click.option("--nifti", is_flag=True, help="Write the image as <stem>.nii.gz too."),
    click.option(
        "--gif",
        is_flag=True,
        help="Write <stem>_scales.gif too: the image from the coarsest scale to the finest.",
    ),
    click.option(
        "--slices",
        type=SliceList(),
        default=(),
        metavar="LIST",
        show_default="the middle one",
        help=f"Slices in the figure and the GIF, from 0 on, such as 3,10,20 or 0-4; at most {MAX_SLICES}.",
    ),
)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: what is written, handed to the command as one `pipeline.output.Outputs`, `outputs`.

    Whether a file has the slices is checked once it is open, by `pipeline.output.Outputs.shown`.
    """

    @wraps(command)
    def collected(
        *args: Any,  # noqa: ANN401 - Click passes options by name
        nifti: bool,
        gif: bool,
        slices: tuple[int, ...],
        image_size: tuple[int, int] | None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from mri_iahvae.pipeline.output import Outputs  # noqa: PLC0415 - torch must not load for --help

        return command(*args, outputs=Outputs(nifti, gif, slices, image_size), **options)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected
