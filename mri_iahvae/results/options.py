"""The options of a run that do not depend on its input, and whether a result was made with them. Without torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mri_iahvae.errors import ScanError
from mri_iahvae.files import name_and_digest, name_as_text
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.scans.formats.bart import bart_name
from mri_iahvae.scans.reader import Reading
from mri_iahvae.scans.safety.hdf5 import guarded_file, scalar_attribute
from mri_iahvae.scans.undersampling import Sampling


def asked_options(
    task: str,
    checkpoint: str | Path,
    settings: InferenceSettings,
    sampling: Sampling,
    reading: Reading,
    *,
    up_to: int | None = None,
    sigma: float | None = None,
    relative_sigma: float | None = None,
    sensitivities: Path | None = None,
    noise_scan: Path | None = None,
) -> dict[str, Any]:
    """Options that decide a result, defaults filled in, by name; plain JSON values."""
    options = {
        "checkpoint": name_as_text(Path(checkpoint)),
        **asdict(reading),
        **sampling.to_json(),
        **settings.in_effect(),
        "sensitivities": sensitivities and name_and_digest(bart_name(sensitivities)),
        "noise_scan": noise_scan and name_and_digest(bart_name(noise_scan)),
    }
    if task == "denoise":
        return {**options, "sigma": sigma, "relative_sigma": relative_sigma}
    return {**options, "up_to": f"{up_to}x{up_to}" if up_to else None}


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
