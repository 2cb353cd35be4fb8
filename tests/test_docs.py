"""The documentation: builds without a warning, names every option and no other, and cites this version."""

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import yaml

import mri_iahvae
from mri_iahvae.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PROSE = "\n".join(page.read_text() for page in PAGES)


def load(path):
    """A script or a test module by its path."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


readme = load(ROOT / "tests" / "test_readme.py")
help_pages = load(DOCS / "help_pages.py")


def options():
    """(command, option) of every option of every command."""
    context = click.Context(main)
    for name in main.list_commands(context):
        for parameter in main.get_command(context, name).params:
            if isinstance(parameter, click.Option):
                yield name, parameter


def pinned(package):
    return re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("furo", "myst_parser", "sphinx")),
    reason="needs the extra `docs`",
)
def test_the_site_builds_without_a_warning_and_asks_no_other_server(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        html = (tmp_path / page.relative_to(DOCS)).with_suffix(".html").read_text()
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=\"(?:https?:)?//[^>]*>", html)
        assert not re.findall(
            r"<link[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"(?:https?:)?//[^>]*>", html
        )
    reference = (tmp_path / "reference" / "python.html").read_text()
    for name in set(mri_iahvae.__all__) - {"__version__"}:
        assert f'id="mri_iahvae.{name}"' in reference, name


def test_the_front_page_says_what_it_is_not_for():
    assert "not for diagnosis" in (DOCS / "index.md").read_text()


@pytest.mark.skipif(
    version("click") != pinned("click"), reason="other versions of Click print help differently"
)
def test_stored_help_is_current():
    stored = {path.name: path.read_text() for path in help_pages.FOLDER.iterdir()}
    assert stored == help_pages.help_pages(), "run: python docs/help_pages.py"


def test_the_reference_shows_every_help_page():
    shown = re.findall(r"^```\{literalinclude\} \.\./cli/(.+)$", PROSE, re.MULTILINE)
    assert sorted(shown) == sorted(["mri-iahvae.txt", *(f"{name}.txt" for name in main.entries)])


@pytest.mark.parametrize(
    ("command", "option"), [pytest.param(*pair, id=f"{pair[0]} {pair[1].opts[-1]}") for pair in options()]
)
def test_every_option_is_documented(command, option):
    assert option.help, "no help text"
    names = "|".join(option.opts)
    assert re.search(rf"(?<![\w-])({names})(?![\w-])", PROSE), f"no page of docs/ tells what {names} is for"


def test_no_page_names_an_option_that_does_not_exist():
    known = {name for _, option in options() for name in option.opts} | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", PROSE)) <= known


@pytest.mark.parametrize("arguments", list(readme.cli_calls(PROSE)), ids=" ".join)
def test_the_command_line_knows_every_call(arguments):
    if arguments != ["--version"]:
        readme.check_call(main, arguments)


def test_figures_are_small_and_all_are_shown():
    figures = sorted((DOCS / "figures").iterdir())
    assert sum(path.stat().st_size for path in figures) < 1.5e6
    for path in figures:
        assert f"figures/{path.name})" in PROSE, path.name


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == mri_iahvae.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    assert [author["name"] for author in citation["authors"]] == ["the mri-iahvae developers"]
    (paper,) = citation["references"]
    assert paper["url"].endswith("2601.15894")


def test_the_security_policy_names_files_that_exist():
    policy = (ROOT / "SECURITY.md").read_text()
    assert "not for diagnosis" in policy
    for name in re.findall(r"`(mri_iahvae/\S+\.py)`", policy):
        assert (ROOT / name).is_file(), name
