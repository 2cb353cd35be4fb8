"""How experiments of this folder begin and end: arrays read, results stored, the table printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_rel

from mri_iahvae.errors import IahvaeError, unusable
from mri_iahvae.files import write_json


def report(
    run: Callable[[], dict[str, Any]], table: Callable[[dict[str, Any]], str], output: Path | None
) -> None:
    """Run an experiment, store its results and print its table; what is wrong with the data is one line."""
    try:
        results = run()
    except IahvaeError as error:
        raise click.ClickException(str(error)) from error
    if output is not None:
        write_json(output, results)
    click.echo(table(results))


def arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Arrays of an npz file.

    Raises:
        ScanError: it is no npz file, or lacks one of them.
    """
    try:
        with np.load(path) as archive:
            return [archive[name] for name in names]
    except (OSError, ValueError, KeyError) as error:
        expected = f"an npz file with {' and '.join(f'`{name}`' for name in names)}"
        raise unusable(path, expected, error, "choose another file") from error


def paired(first: ArrayLike, second: ArrayLike) -> dict[str, float]:
    """How much the first is larger, of two seeds or more: mean, deviation, p of the paired t test, two-sided."""
    change = np.asarray(first) - np.asarray(second)
    return {
        "gain": float(change.mean()),
        "deviation": float(change.std(ddof=1)),
        "p": float(ttest_rel(first, second).pvalue),
    }
