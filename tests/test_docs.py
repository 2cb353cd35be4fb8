"""The documentation: builds without a warning, its links lead somewhere, and stored help is current."""

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md"), *(ROOT / "examples").glob("*.md"),
    *(ROOT / "pretrained").rglob("*.md"),
]  # fmt: skip


def help_pages():
    """The script docs/help_pages.py as a module."""
    specification = importlib.util.spec_from_file_location("help_pages", DOCS / "help_pages.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def anchors(page):
    """Of the headings of a Markdown page, as web pages of repositories make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("furo", "myst_parser", "sphinx")),
    reason="needs the extra `docs`",
)
def test_the_site_builds_without_a_warning_and_asks_no_other_server(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not for diagnosis" in (tmp_path / "index.html").read_text()
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS) if page != DOCS / "README.md" else Path("index.md")
        html = (tmp_path / name).with_suffix(".html").read_text()
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=\"(?:https?:)?//[^>]*>", html)
        assert not re.findall(
            r"<link[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"(?:https?:)?//[^>]*>", html
        )


def test_stored_help_is_current():
    pinned = re.search(r"^click==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    if version("click") != pinned:
        pytest.skip("other versions of Click print help differently")
    pages = help_pages()
    stored = {path.name: path.read_text() for path in pages.FOLDER.iterdir()}
    assert stored == pages.help_pages(), "run: python docs/help_pages.py"
