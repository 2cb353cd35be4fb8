"""The layers of the package: a folder imports only from the folders below it."""

import ast
from pathlib import Path

import pytest

import mri_iahvae

LAYERS = [
    "kspace",
    "model",
    "evaluation",
    "inference",
    "training",
    "scans",
    "results",
    "pipeline",
    "tasks",
    "adapters",
    "cli",
]  # lowest first
STRANGERS = [{"scans", "model"}]
LONGEST = 400

ROOT = Path(mri_iahvae.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def imported_modules(source):
    """Absolute names of everything the source imports, functions' own imports included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_folders(source):
    names = (name.split(".") for name in imported_modules(source))
    return {parts[1] for parts in names if parts[0] == "mri_iahvae" and parts[1:2] and parts[1] in LAYERS}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def test_every_folder_is_a_layer():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES if path.parent != ROOT} == set(LAYERS)


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != ROOT], ids=name_of)
def test_a_folder_imports_only_from_those_below(path):
    folder = path.relative_to(ROOT).parts[0]
    imported = imported_folders(path.read_text())
    above = {layer for layer in imported if LAYERS.index(layer) > LAYERS.index(folder)}
    assert not above, f"{folder} imports {above}"
    strangers = {layer for layer in imported if {folder, layer} in STRANGERS}
    assert not strangers, f"{folder} must not know {strangers}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST
