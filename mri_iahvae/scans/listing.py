"""Which files a list of files and folders means."""

import re
from collections.abc import Iterable
from pathlib import Path

from mri_iahvae.errors import UsageError, reason
from mri_iahvae.scans.formats.bart import bart_name
from mri_iahvae.scans.reader import HDF5_SUFFIXES, SCAN_SUFFIXES


def scan_files(inputs: Iterable[Path], *, series: bool = False) -> list[Path]:
    """Files in the order given, each folder replaced by its scan files.

    A folder stands for its files with one of `SCAN_SUFFIXES`, by name, hidden ones left out; folders within it are
    not looked into. Numbers in names count as such: `frame2.h5` comes before `frame10.h5`. With `series` a folder is
    one input, whose files are frames, and stays a folder. A file that is meant twice counts once, where it comes first.
    A BART pair is meant by either file.

    Raises:
        UsageError: a folder without scan files, or one that cannot be read.
    """
    found: dict[Path, Path] = {}
    for path in inputs:
        for file in _within(path) if path.is_dir() and not series else [bart_name(path)]:
            # The folder alone is resolved: two links in it are two names, and make two results.
            found.setdefault(file.parent.resolve() / file.name, file)
    return list(found.values())


def hdf5_files(folder: Path) -> list[Path]:
    """HDF5 files (*.h5, *.hdf5) of a folder, by name; hidden files are left out, broken links are not."""
    found = (path for path in folder.glob("*") if path.suffix.lower() in HDF5_SUFFIXES)
    return sorted(path for path in found if not (path.is_dir() or path.name.startswith(".")))


def _within(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir(), key=_by_name)
    except OSError as error:
        found = reason(error)
        raise UsageError(f"{folder}: expected a folder of scans, found: {found}; check the path") from None
    files = [path for path in inside if _is_scan(path.name) and path.is_file()]
    if not files:
        wanted = ", ".join(f"*{suffix}" for suffix in SCAN_SUFFIXES)
        deeper = next((path for path in inside if path.is_dir() and _has_scans(path)), None)
        cure = "check the path" if deeper is None else f"folders in it are not searched: give {deeper}"
        raise UsageError(f"{folder}: expected a folder with scans ({wanted}), found none in it; {cure}")
    return files


def _by_name(path: Path) -> tuple[list[str | int], str]:
    """A key to sort by: text and numbers in turn."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], path.name


def _has_scans(folder: Path) -> bool:
    try:
        return any(_is_scan(path.name) for path in folder.iterdir())
    except OSError:
        return False


def _is_scan(name: str) -> bool:
    return name.lower().endswith(SCAN_SUFFIXES) and not name.startswith(".")
