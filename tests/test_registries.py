"""Kinds are chosen in one registry each: no module asks by name which one it has."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import mri_iahvae
from mri_iahvae.inference.refine import OPTIMIZERS, SCHEDULES
from mri_iahvae.inference.settings import CONVERGES, Optimizer, Schedule
from mri_iahvae.model import config
from mri_iahvae.model.iahvae import DECODERS, DECOMPOSITIONS, ENCODERS, HEADS

ROOT = Path(mri_iahvae.__file__).parent
NAMES = {*ENCODERS, *HEADS, *DECODERS, *DECOMPOSITIONS, *OPTIMIZERS, *SCHEDULES}


def comparisons(source):
    """Lines that compare something with one of the names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.MatchValue):
            constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            if any(isinstance(value, str) and value in NAMES for value in constants):
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_no_module_compares_with_the_names_of_kinds(path):
    assert not list(comparisons(path.read_text()))


@pytest.mark.parametrize(
    "source",
    ["x = a.encoder == 'causal'", "if k in ('lbfgs', 'adam'): pass", "match d:\n    case 'ordinary': pass"],
)
def test_every_comparison_is_seen(source):
    assert list(comparisons(source))


def test_every_kind_is_registered():
    assert set(ENCODERS) == set(config.GROWS) == set(get_args(config.Encoder))
    assert set(HEADS) == set(config.IMAGES) == set(get_args(config.Heads))
    assert set(DECODERS) == set(config.DECODERS) == set(get_args(config.Decoder))
    assert set(DECOMPOSITIONS) == set(config.COUPLES) == set(get_args(config.DecompositionName))
    assert set(OPTIMIZERS) == set(CONVERGES) == set(get_args(Optimizer))
    assert set(SCHEDULES) == set(get_args(Schedule))


def test_algorithm_1_is_on_one_screen():
    """Loop, objective and table of methods: 150 lines of code at most, docstrings not counted."""
    source = (ROOT / "inference" / "infer.py").read_text()
    code = {number for number, line in enumerate(source.splitlines(), 1) if line.strip()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            code -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    assert len(code) <= 150
