"""Small faults put into `kspace` and `inference`, one at a time: does a test of that room fail?

    python -m tools.robustness.mutants 100 --seed 0 --json tools/robustness/mutants.json

Each mutant changes one operator, comparison, number or truth value of a copy of the package. Mutants that no test
catches are listed; some change nothing that can be observed, which is for a reader to judge.
"""

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mri_iahvae.files import write_json

ROOT = Path(__file__).parents[2]
ROOMS = ("kspace", "inference")
_OPTIONS = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider")
_SECONDS = 600
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Invert: ast.UAdd,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """Every mutant of a module: line and expression of the fault, and the module's text with it."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        mutant = copy.deepcopy(tree)
        twin = next(other for index, other in enumerate(ast.walk(mutant)) if index == number)
        if _change(twin):
            where = f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)} -> {ast.unparse(twin)}"
            yield where, ast.unparse(ast.fix_missing_locations(mutant))


def _change(node: ast.AST) -> bool:
    """Put a fault into a node; False where the node has none to take."""
    match node:
        case ast.BinOp() | ast.BoolOp() | ast.UnaryOp() | ast.AugAssign() if type(node.op) in _SWAPS:
            node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
        case ast.Compare(ops=[first, *_]) if type(first) in _SWAPS:
            node.ops[0] = _SWAPS[type(first)]()  # type: ignore[call-overload]
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=(int() | float()) as value):
            node.value = value + 1
        case _:
            return False
    return True


def survives(room: str, path: Path, text: str) -> bool:
    """Whether the tests of a room pass with a module's text replaced."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder)
        for name in ("mri_iahvae", "tests", "benchmarks", "tools"):
            shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "pretrained", "examples"):
            (copied / name).symlink_to(ROOT / name)
        (copied / path.relative_to(ROOT)).write_text(text)
        command = [sys.executable, "-m", "pytest", *_OPTIONS, f"tests/{room}"]
        own = {**os.environ, "PYTHONPATH": folder}
        try:
            run = subprocess.run(
                command, cwd=copied, env=own, check=False, capture_output=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return False
    return run.returncode == 0


def main() -> None:
    """Draw mutants, run the tests, print and write what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    every = [
        (room, path, where, text)
        for room in ROOMS
        for path in sorted((ROOT / "mri_iahvae" / room).rglob("*.py"))
        for where, text in mutants(path.read_text())
    ]
    drawn = [
        every[i] for i in np.random.default_rng(arguments.seed).permutation(len(every))[: arguments.count]
    ]
    survived: list[str] = []
    for number, (room, path, where, text) in enumerate(drawn, 1):
        if survives(room, path, text):
            survived.append(f"{path.relative_to(ROOT)}:{where}")
            print(f"survived: {survived[-1]}", flush=True)
        print(f"{number} of {len(drawn)}, caught {number - len(survived)}", flush=True)
        if arguments.json:
            record = {"possible": len(every), "tried": number, "survived": survived, "seed": arguments.seed}
            write_json(arguments.json, record)


if __name__ == "__main__":
    main()
