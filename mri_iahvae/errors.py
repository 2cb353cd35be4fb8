"""Errors that a user can act on, and warnings: one sentence each, shown without a traceback."""

import inspect
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


class IahvaeError(Exception):
    """A run failed for a reason that the message states (exit code 1)."""


class UsageError(IahvaeError):
    """A command or call asked for something that cannot be (exit code 2)."""


class ScanError(IahvaeError):
    """An input file cannot be used: the message names the file, what was expected, found, and what to do."""


class CheckpointError(IahvaeError):
    """A checkpoint cannot be used: the message names it, what was expected and what was found."""


class IahvaeWarning(UserWarning):
    """What a caller of the Python API should know of a result; the command line prints it."""


def warn(sentences: Iterable[str]) -> None:
    """Raise each as an `IahvaeWarning`, at the line that called the package."""
    package, frame, level = __name__.partition(".")[0], inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    for sentence in sentences:
        warnings.warn(sentence, IahvaeWarning, stacklevel=level)


def unusable(path: str | Path, expected: str, found: object, advice: str) -> ScanError:
    """The error for an input file that cannot be used, in the form that all of them have."""
    return ScanError(f"{path}: expected {expected}, found {found}; {advice}")


def require_package(package: str, wanted: str, extra: str) -> None:
    """Refuse, as a UsageError, what needs a package that is not installed; the extra has it."""
    if find_spec(package) is None:
        raise UsageError(f"{wanted} needs {package}: pip install 'mri-iahvae[{extra}]'")


def reason(error: BaseException) -> str:
    """What another library's or the system's error says: one line, at most 200 characters of it."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
