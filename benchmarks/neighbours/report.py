"""How experiments of this folder end: results stored, the table printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mri_iahvae.errors import IahvaeError
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
