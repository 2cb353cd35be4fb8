"""Options that say which k-space bins count as measured."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mri_iahvae.cli.options import FiniteRange

# No option has a default here: what was not given must be told apart from what was given and does not apply.
_COLUMN_OPTIONS = (
    click.option(
        "--acceleration",
        metavar="INT",
        show_default="measure all",
        type=click.IntRange(min=2),
        help="Keep about one k-space column in INT, drawn as the fastMRI challenge does.",
    ),
    click.option(
        "--center-fraction",
        metavar="FLOAT",
        show_default="0.32 / acceleration",
        type=FiniteRange(0, 1, min_open=True, max_open=True),
        help="Share of columns around the centre of k-space that are always measured.",
    ),
    click.option(
        "--mask-type",
        show_default="random",
        type=click.Choice(["random", "equispaced", "magic"]),
        help="How the other columns are drawn; the file name is the seed.",
    ),
)
_MASK_OPTION = click.option(
    "--mask",
    "mask_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Use the bins of this mask only: npy, npz or HDF5 (`mask`), 0 and 1, (width,) or (height, width).",
)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: `acceleration`, `center_fraction` and `mask_type`, each None where not given."""
    for option in reversed(_COLUMN_OPTIONS):
        command = option(command)
    return command


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a mask file or a column mask, handed to the command as one `scans.undersampling.Sampling`, `sampling`.

    The command raises UsageError when the options contradict each other.
    """

    @wraps(command)
    def collected(
        *args: Any,  # noqa: ANN401 - Click passes options by name
        mask_path: Path | None,
        acceleration: int | None,
        center_fraction: float | None,
        mask_type: Any,  # noqa: ANN401 - one of click.Choice's strings
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from mri_iahvae.scans.undersampling import Sampling  # noqa: PLC0415 - torch must not load for --help

        sampling = Sampling(mask_path, acceleration, center_fraction, mask_type)
        return command(*args, sampling=sampling, **options)

    return _MASK_OPTION(column_options(collected))
