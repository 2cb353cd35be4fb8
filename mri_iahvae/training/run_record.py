"""The record of a training run, `run.json`: what it was started with, and must go on with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mri_iahvae.errors import CheckpointError, IahvaeError, UsageError, reason
from mri_iahvae.files import write_json
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.training.states import states

_OF_STAGES = ("batch", "rate", "sigma")  # one value for all of them
_SETTINGS = {
    "completion_weight": "--completion-weight",
    "masked_weight": "--masked-weight",
    "validate_every": "--validate-every",
    "save_seconds": "--save-every",
    "precision": "--precision",
    "seed": "--seed",
}


def start_or_resume(run: Path, resolved: dict[str, Any], *, resume: bool) -> None:
    """Write the record of a new run, or check that the run in the folder is the one to resume.

    Args:
        run: folder of the run.
        resolved: plain JSON values, `model` and `settings` among them.
        resume: whether the run goes on.

    Raises:
        UsageError: another run, or none to resume; one that was started with other options.
        IahvaeError: the record cannot be read or written.
    """
    config = run / "run.json"
    if not resume:
        if states(run):
            raise UsageError(
                f"{run}: holds a run already; add --resume to go on with it or choose another folder"
            )
        write_json(config, resolved)
        return
    if not states(run):
        raise UsageError(f"{run}: --resume found no run with a saved state there; start without it")
    try:
        before = json.loads(config.read_text())
        plain = json.loads(json.dumps(resolved))
        # Runs of earlier versions lack what configurations have learnt since.
        models = [ModelConfig.from_json(record["model"]) for record in (before, plain)]
        changed = _change(models, [before["settings"], plain["settings"]])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, CheckpointError) as error:
        raise IahvaeError(f"{config}: cannot be read as the record of a run ({reason(error)})") from None
    if changed:
        raise UsageError(f"{run}: --resume needs the options that the run started with; {changed}")


def _change(models: list[ModelConfig], settings: list[dict[str, Any]]) -> str:
    """The options that differ, with the values that they had and those that they have; nothing where all is alike."""
    before, now = (_options(model, of_run) for model, of_run in zip(models, settings, strict=True))
    common = min(len(model.scales) for model in models)
    changed = [
        f"{option} was {before[option]}, found {value}"
        for option, value in now.items()
        if before[option] != value
    ]
    other = _plain(models[0])[:common] != _plain(models[1])[:common]
    without = [not any(scale.super_resolution for scale in model.scales[:common]) for model in models]
    if without[0] != without[1] and not other:
        changed.append(f"--no-details was {without[0]}, found {without[1]}")
    if other or (models[0] != models[1] and not changed):
        changed.insert(0, "--preset gave another model")
    if changed:
        return ", ".join(changed)
    return "" if settings[0] == settings[1] else "settings that are no options differ"


def _plain(model: ModelConfig) -> list[ScaleConfig]:
    """The scales without details, of which an option of their own decides."""
    return [replace(scale, super_resolution=0) for scale in model.scales]


def _options(model: ModelConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """The options that decided model and settings."""
    stages = settings["stages"]
    return {
        "--grid": model.size,
        "--encoder": model.encoder,
        "--heads": model.heads,
        "--decoder": model.decoder,
        "--stages": ",".join(f"{stage['size']}:{stage['steps']}" for stage in stages),
        **{f"--{name}": stages[0][name] for name in _OF_STAGES},
        **{option: settings.get(name) for name, option in _SETTINGS.items()},
    }
