"""Errors that a user can act on: one sentence each, shown without a traceback."""

from pathlib import Path


class IahvaeError(Exception):
    """A run failed for a reason that the message states (exit code 1)."""


class UsageError(IahvaeError):
    """A command or call asked for something that cannot be (exit code 2)."""


class ScanError(IahvaeError):
    """An input file cannot be used: the message names the file, what was expected, found, and what to do."""


class CheckpointError(IahvaeError):
    """A checkpoint cannot be used: the message names it, what was expected and what was found."""


def unusable(path: str | Path, expected: str, found: object, advice: str) -> ScanError:
    """The error for an input file that cannot be used, in the form that all of them have."""
    return ScanError(f"{path}: expected {expected}, found {found}; {advice}")


def reason(error: BaseException) -> str:
    """What another library's or the system's error says: one line, at most 200 characters of it."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
