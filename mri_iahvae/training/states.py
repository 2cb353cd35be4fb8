"""Training state on disk: tensors in one safetensors file, all else as JSON in its header. Nothing is pickled."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mri_iahvae.errors import CheckpointError
from mri_iahvae.files import atomic_path

_KEEP = 2
_SUFFIX = ".state.safetensors"


class SafeStates(CheckpointIO):
    """Lightning's checkpoint dictionary as one safetensors file, written beside and renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401, ARG002
        """Write `checkpoint` to `path`; an interrupted write leaves what was there."""
        tensors: dict[str, torch.Tensor] = {}
        structure = json.dumps(_flatten(checkpoint, "", tensors))
        with atomic_path(Path(path)) as part:
            part.write_bytes(save(tensors, metadata={"structure": structure}))

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:  # noqa: ANN401
        """The inverse of `save_checkpoint`; a CheckpointError for another file."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
                checkpoint = _restore(json.loads(file.metadata()["structure"]), tensors)
            if not isinstance(checkpoint, dict):
                raise TypeError("another structure")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            wanted = "a training state of this program"
            raise CheckpointError(f"{path}: expected {wanted}, found {error}") from None
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:  # noqa: ANN401
        Path(path).unlink(missing_ok=True)


def state_path(run: Path, stage: int, step: int) -> Path:
    return run / "states" / f"stage{stage}-step{step:08d}{_SUFFIX}"


def states(run: Path) -> list[tuple[int, int, Path]]:
    """(stage, step, path) of every complete state of a run, oldest first."""
    found = []
    for path in (run / "states").glob(f"stage*-step*{_SUFFIX}"):
        if match := re.fullmatch(r"stage(\d{1,9})-step(\d{1,18})", path.name.removesuffix(_SUFFIX)):
            found.append((int(match[1]), int(match[2]), path))
    return sorted(found)


def prune(run: Path) -> None:
    """Keep the newest states only: two, so that one remains whatever happens to the other."""
    for _, _, path in states(run)[:-_KEEP]:
        path.unlink(missing_ok=True)


def _flatten(value: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    """Plain JSON for `value`, its tensors moved into `tensors` under their path."""
    if isinstance(value, torch.Tensor):
        name = key if key not in tensors else f"{key} ({len(tensors)})"  # keys 1 and "1" read alike
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[k, _flatten(v, f"{key}/{k}", tensors)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [_flatten(v, f"{key}/{i}", tensors) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    found = type(value).__name__
    raise CheckpointError(f"training state {key}: expected tensors and plain values, found {found}")


def _restore(value: Any, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {k: _restore(v, tensors) for k, v in content}
    items = [_restore(v, tensors) for v in content]
    return tuple(items) if kind == "tuple" else items
