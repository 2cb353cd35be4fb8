"""Options that several benchmarks have on the command line."""

from pathlib import Path

import click

data = click.argument("data", type=click.Path(exists=True, path_type=Path))
checkpoint = click.option("--checkpoint", default="small", show_default=True)
output = click.option("--json", "output", type=click.Path(path_type=Path), help="Numbers go here.")
required_output = click.option("--json", "output", type=click.Path(path_type=Path), required=True)
only = click.option("--task", "only", multiple=True, help="Only tasks whose name holds this text.")
limit = click.option("--slices", "limit", type=int, help="Only the first slices of each file.")
