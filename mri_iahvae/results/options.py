"""The options in the record of a result, and whether they are those asked for. Without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.safety.hdf5 import guarded_file, scalar_attribute


def stored_options(result: Path) -> dict[str, Any]:
    """The options in the record of a result; nothing where it has none that can be read."""
    try:
        with guarded_file(result) as file:
            options = json.loads(str(scalar_attribute(file, "options") or "{}"))
    except (ScanError, RecursionError):
        return {}
    return options if isinstance(options, dict) else {}


def other_options(result: Path, asked: Mapping[str, Any]) -> list[str]:
    """Options of a result that are not those asked for, in words; those that its record lacks do not count."""
    stored = stored_options(result)
    return [
        f"--{name.replace('_', '-')} was {stored[name]}, now {value}"
        for name, value in asked.items()
        if name in stored and stored[name] != value
    ]
