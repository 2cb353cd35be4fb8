"""The command group: imports a command only when it runs, and turns errors into one line and an exit code."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from traceback import walk_tb
from typing import Any

import click

from mri_iahvae.cli.interrupts import interruptible
from mri_iahvae.errors import IahvaeError, UsageError, reason


@contextmanager
def _output_errors() -> Iterator[None]:
    """Output that cannot be written (the disk is full, the pipe was closed) ends in one line and exit code 1."""
    try:
        yield
    except OSError as error:
        if not any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__)):
            raise
        with suppress(OSError):  # Python would write what is left at its end, and complain once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):  # it may be the same pipe
            click.echo(f"Error: the output cannot be written: {error.strerror or reason(error)}", err=True)
        raise SystemExit(1) from None


class LazyGroup(click.Group):
    """Commands, each in the module of its name; listing them, by their lines in `entries`, imports none of them."""

    def __init__(self, *args: Any, entries: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.entries:
            return None
        command: click.Command = getattr(import_module(f"mri_iahvae.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called; the error for a mistyped one suggests another, as for options."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            # Click itself looks among imported commands, and none is.
            if near := get_close_matches(args[0], self.entries, n=1):
                raise click.UsageError(f"{error.format_message()} Did you mean {near[0]!r}?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self.entries.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Click's signature
        with _output_errors():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - Click's signature
        """Run; what a user can act on ends in one line on stderr, exit 2 (usage), 1, or 130 (Ctrl-C, SIGTERM)."""
        try:
            with _output_errors(), interruptible():
                return super().invoke(ctx)
        except IahvaeError as error:
            kind = click.UsageError if isinstance(error, UsageError) else click.ClickException
            raise kind(str(error)) from error
        except KeyboardInterrupt as interrupt:
            click.echo(str(interrupt) or "Interrupted", err=True)
            ctx.exit(130)
