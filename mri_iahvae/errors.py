"""Errors that a user can act on: one sentence each, shown without a traceback."""


class IahvaeError(Exception):
    """A run failed for a reason that the message states (exit code 1)."""


class UsageError(IahvaeError):
    """A command or call asked for something that cannot be (exit code 2)."""


class ScanError(IahvaeError):
    """An input file cannot be used: the message names the file, what was expected, found, and what to do."""


class CheckpointError(IahvaeError):
    """A checkpoint cannot be used: the message names it, what was expected and what was found."""


def reason(error: BaseException) -> str:
    """What another library's error says, as part of a sentence: one line, at most 200 characters of it."""
    return " ".join(str(error).split())[:200] or type(error).__name__
