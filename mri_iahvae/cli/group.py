"""The command group: imports a command only when it runs, and turns errors into one line and an exit code."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from traceback import walk_tb
from typing import Any, NamedTuple

import click

from mri_iahvae.cli.interrupts import interruptible
from mri_iahvae.errors import IahvaeError, UsageError, reason


class Entry(NamedTuple):
    """A command that is not imported yet."""

    target: str
    """`module:attribute`."""
    help: str
    """Its line in the list of commands."""


class _Failure(click.ClickException):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # Click reads it from the instance


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
    """Commands by name; listing them imports none of them."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:  # noqa: ANN401
        """As `click.Group`, with the commands in `entries`."""
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Names, in the order in which they are used."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None where there is none of that name."""
        if cmd_name not in self.entries:
            return None
        module, _, attribute = self.entries[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
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
        """The list of commands, from `entries` alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Click's signature
        """As `click.Group.main`, which prints `--help` itself."""
        with _output_errors():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - Click's signature
        """Run; what a user can act on ends in one line on stderr, exit 2 (usage), 1, or 130 (Ctrl-C, SIGTERM)."""
        try:
            with _output_errors(), interruptible():
                return super().invoke(ctx)
        except IahvaeError as error:
            raise _Failure(str(error), 2 if isinstance(error, UsageError) else 1) from error
        except KeyboardInterrupt as interrupt:
            click.echo(str(interrupt) or "Interrupted", err=True)
            ctx.exit(130)
