"""Scores by task and method in a JSON file that is written after each of them, so that a run can go on later."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.tasks import Measurement
from mri_iahvae.files import write_json

Plan = Mapping[str, Mapping[str, str]]
"""Fingerprint of what decides each row, by task and method, in the order of the table."""

Rows = dict[str, dict[str, dict[str, Any]]]
"""Scores by task and method; `made_from` is the fingerprint."""


def fingerprint(measured: Sequence[Measurement], identity: Mapping[str, Any]) -> str:
    """Hash of the measurements with their references, and of the method's settings and weights."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for one in measured:
        digest.update(one.task.consistency.encode())
        for array in (one.kspace, one.mask, one.sigma, one.full, one.reference):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def facts(digest: str, measured: Sequence[Measurement]) -> dict[str, Any]:
    """About a run as a whole: the model's SHA-256, the number of slices, and the machine."""
    return {
        "model_sha256": digest,
        "slices": sum(len(one.kspace) for one in measured),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


class Results:
    """Rows of a plan.

    Args:
        path: JSON file to write, and to go on with where it exists; None keeps the rows in memory.
        plan: what the rows shall be; an earlier row made from anything else is dropped.
        facts: about the run as a whole, for the record.
    """

    def __init__(self, path: Path | None, plan: Plan, facts: Mapping[str, Any]) -> None:
        self.path, self.plan, self.facts = path, plan, facts
        earlier = json.loads(path.read_text())["tasks"] if path is not None and path.exists() else {}
        self._rows = {
            (task, method): row
            for task, methods in plan.items()
            for method, made_from in methods.items()
            if (row := earlier.get(task, {}).get(method, {})).get("made_from") == made_from
        }
        self.save()

    @property
    def rows(self) -> Rows:
        """All rows that there are, in the plan's order."""
        return {
            task: {method: self._rows[task, method] for method in methods if (task, method) in self._rows}
            for task, methods in self.plan.items()
            if any((task, method) in self._rows for method in methods)
        }

    def has(self, task: str, method: str) -> bool:
        """Whether a row need not be made again."""
        return (task, method) in self._rows

    def add(self, task: str, method: str, row: Mapping[str, Any]) -> None:
        """Keep a row, and write the file."""
        self._rows[task, method] = {**row, "made_from": self.plan[task][method]}
        self.save()

    def save(self) -> None:
        """Write the file: beside, then renamed."""
        if self.path is not None:
            write_json(self.path, {**self.facts, "tasks": self.rows})
