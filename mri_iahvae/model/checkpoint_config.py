"""Where checkpoints are, and what their `config.json` says. Without torch: `inspect` must not wait for it."""

import json
from pathlib import Path
from typing import Any

from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.model.config import ModelConfig

FORMAT = 1
"""Version of the format; a reader refuses what it does not know."""

GUIDE = "guide.safetensors"
"""Name of the guide's file, where a checkpoint has one."""

COARSE = "coarse.safetensors"
"""Name of the coarse prior's file, likewise."""

INTERVALS = "intervals.json"
"""Name of the file of its intervals, likewise."""

_CONFIG = "config.json"
_MAX_BYTES = 2**24
_KEYS = {"format", "model", "training", "sha256"}  # and, where it was measured, "domain"


def find_checkpoint(checkpoint: str | Path) -> Path:
    """Folder of a checkpoint: a path that exists, or a shipped model's name.

    Raises:
        UsageError: neither.
    """
    path = Path(checkpoint)
    if path.is_dir():
        return path
    shipped = _pretrained()
    if path.name == str(checkpoint) and (shipped / path.name / _CONFIG).is_file():
        return shipped / path.name
    names = sorted(folder.parent.name for folder in shipped.glob(f"*/{_CONFIG}"))
    raise UsageError(
        f"--checkpoint {checkpoint}: expected a folder with model.safetensors and config.json, "
        f"or a shipped model ({', '.join(names) or 'none here'})"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint, its keys checked.

    Raises:
        CheckpointError: this version cannot read it.
    """
    path = folder / _CONFIG
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        of_run = f"that is the folder of a run, give {folder / 'model'}"
        advice = of_run if (folder / "run.json").is_file() else "give one with both files"
        wanted = f"a folder with model.safetensors and {_CONFIG}"
        raise CheckpointError(f"{folder}: expected {wanted}, found no {_CONFIG}; {advice}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        advice = "train again or use another version"
        raise CheckpointError(f"{path}: expected checkpoint format {FORMAT}; {advice}")
    if set(config) - {"domain"} != _KEYS:
        raise CheckpointError(f"{path}: expected the keys {', '.join(sorted(_KEYS))}; found others")
    return config


def model_config(folder: Path) -> ModelConfig:
    """What the model of a checkpoint is made of; errors as `read_config`."""
    config = read_config(folder)
    try:
        return ModelConfig.from_json(config["model"])
    except CheckpointError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from None


def unfinished(folder: Path) -> str:
    """What there is to warn of where the training of a checkpoint has not come to its end; else nothing."""
    training = read_config(folder)["training"]
    if not isinstance(training, dict):
        return ""
    done, planned = training.get("steps_done"), training.get("steps_planned")
    if not isinstance(done, int) or not isinstance(planned, int) or done >= planned:
        return ""  # or not known, of runs of earlier versions
    return f"the training of the weights is unfinished: step {done} of {planned}"


def _pretrained() -> Path:
    """Folder of the shipped models: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "pretrained"
    return inside if inside.is_dir() else package.parent / "pretrained"
