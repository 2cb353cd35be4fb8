"""Files that are never half-written, whatever ends the run; and folders that one run at a time writes to."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from mri_iahvae.errors import IahvaeError, UsageError, reason

_PART = ".part"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, whose name ends in `.part`, and which takes its name once the block ends well.

    The folder is made where it is missing. When the block fails, an older file at `path` stays as it was. Runs that
    write the same file at the same time do not disturb each other: the last one to finish keeps the name. What a
    killed run left of the same file is removed.

    Raises:
        IahvaeError: the file or its folder cannot be written.
    """
    make_folder(path.parent)
    part = path.with_name(f"{_part_stem(path)}.{platform.node()}-{os.getpid()}{_PART}")
    try:
        _remove_leftovers(path)
        part.unlink(missing_ok=True)  # a link under this name would lead the writing elsewhere
        yield part
        _sync(part)
        part.replace(path)
        with suppress(OSError):  # the file is whole; not every file system can sync a folder
            _sync(path.parent)
    except OSError as error:
        raise IahvaeError(f"{path}: cannot be written: {reason(error)}; choose another output") from error
    finally:
        with suppress(OSError):  # the folder may be gone; the error says what went wrong
            part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Write plain values as a JSON file, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def name_as_text(path: Path) -> str:
    """A file's name, without its folder, as text that an attribute or a terminal can take: not every name is."""
    return path.name.encode("utf-8", "replace").decode()


def digest(path: Path) -> str:
    """SHA-256 of the bytes of a file, or of what the files in a folder hold.

    Raises:
        IahvaeError: it cannot be read.
    """
    try:
        if path.is_dir():
            inside = "".join(sorted(digest(one) for one in path.iterdir() if one.is_file()))
            return hashlib.sha256(inside.encode()).hexdigest()
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IahvaeError(f"{path}: cannot be read: {reason(error)}; check the path") from error


def name_and_digest(path: Path) -> str:
    """A file's name and the beginning of its `digest`, which another content changes; the name of what is no file."""
    return f"{name_as_text(path)}, sha256 {digest(path)[:16]}" if path.is_file() else name_as_text(path)


def longest_name(folder: Path) -> int:
    """Bytes that a file's name may have in a folder that exists; 255 where the system does not say."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


def shortened(name: str, most: int) -> str:
    """A file's name, or a part of it, of at most so many bytes: cut, and kept apart by a digest of the whole."""
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: most - 9].decode(errors="ignore") + f"~{digest}"


def require_fitting(path: Path) -> None:
    """Refuse, as a UsageError, a file to be written whose name its folder cannot hold, before anything is computed."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    size, most = len(os.fsencode(path.name)), longest_name(folder)
    if size > most:
        raise UsageError(f"{path}: the name has {size} bytes, at most {most} fit there; choose a shorter one")


def require_new(path: Path, *, overwrite: bool) -> None:
    """Refuse, as a UsageError, to replace a file, unless that is asked for, and a name that is too long."""
    require_fitting(path)
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; choose another output, or overwrite it with --overwrite")


def make_folder(folder: Path) -> None:
    """Make an output folder, with its parents; one that exists is fine.

    Raises:
        IahvaeError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IahvaeError(f"{folder}: cannot be made: {reason(error)}; choose another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise IahvaeError(f"{folder}: cannot be written to; choose another folder")


@contextmanager
def gone_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder, and parents of it, that the block has made, if nothing is in them at its end."""
    # Not `Path.exists`, which raises where a folder may not be looked into; `make_folder` says that in one line.
    missing = [one for one in (folder, *folder.parents) if not os.path.exists(one)]  # noqa: PTH110
    try:
        yield
    finally:
        for one in missing:
            with suppress(OSError):  # something is in it, or it was not made
                one.rmdir()


@contextmanager
def folder_of_one_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder that exists, and clear away what a killed one left half-written there.

    The lock is the system's, on the file `.lock`: it ends with the process, however that ends. File systems without
    locks are left unlocked.

    Raises:
        UsageError: another run holds it.
        IahvaeError: it cannot be written to.
    """
    try:
        file = (folder / ".lock").open("a+b", buffering=0)
    except OSError as error:
        raise IahvaeError(
            f"{folder}: cannot be written to: {reason(error)}; choose another folder"
        ) from error
    with file:
        if not _locked(file.fileno()):
            file.seek(0)
            owner = file.read().decode(errors="replace") or "of unknown origin"
            raise UsageError(
                f"{folder}: another run writes there ({owner}); wait for its end or choose another folder"
            )
        with suppress(OSError):  # a full disk; the first real file will say so
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
        for part in folder.rglob(f"*-[0-9]*{_PART}"):
            with suppress(OSError):
                part.unlink()
        yield


def _locked(descriptor: int) -> bool:
    """Whether this process holds the lock, or there are no locks here."""
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _part_stem(path: Path) -> str:
    """What the names of a half-written file begin with; node, process and suffix have to fit behind it."""
    return shortened(path.name, longest_name(path.parent) - len(os.fsencode(platform.node())) - 20)


def _remove_leftovers(path: Path) -> None:
    """Remove what dead processes of this machine left of a file; on others they may be alive."""
    stem = _part_stem(path)
    for part in path.parent.glob(f"{escape(stem)}.*{_PART}"):
        node, _, process = part.name.removeprefix(f"{stem}.").removesuffix(_PART).rpartition("-")
        if node == platform.node() and process.isdecimal() and not _alive(int(process)):
            with suppress(OSError):  # another user's
                part.unlink()


def _alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
