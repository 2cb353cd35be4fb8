"""Help in which options stand in groups, each under a heading."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups.

    Args:
        groups: by heading, the options that stand under it, by the names of the function's arguments; those that are
            named nowhere stand last.
    """

    def __init__(self, *args: Any, groups: Mapping[str, Sequence[str]], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        lines = {option.name: option.get_help_record(ctx) for option in options}
        named = {name for names in self.groups.values() for name in names}
        rest = [name for name in lines if name not in named]
        for heading, names in {**self.groups, "Other options": rest}.items():
            if rows := [row for name in names if (row := lines[name])]:
                with formatter.section(heading):
                    formatter.write_dl(rows)
