"""`benchmarks.pages`: documents hold the tables that were measured; `remake.sh` runs the commands of the pages."""

import importlib.util
import re

import pytest

from benchmarks import pages

RESULTS = "".join(path.read_text() for path in (pages.ROOT / "docs" / "results").glob("*.md"))


@pytest.mark.parametrize("document", list(pages.PAGES))
def test_tables_are_those_that_were_measured(document):
    text = (pages.ROOT / document).read_text()
    for name, table in pages.tables(document).items():
        assert pages.replace_between(text, name, table) == text, "run: python -m benchmarks.pages"


def test_every_mark_has_a_table():
    marked = {
        (str(path.relative_to(pages.ROOT)), mark)
        for path in [
            *pages.ROOT.glob("*.md"),
            *pages.ROOT.glob("docs/**/*.md"),
            *pages.ROOT.glob("pretrained/*/*.md"),
        ]
        for mark in re.findall(r"<!-- (.*?):begin -->", path.read_text())
    }
    assert marked == {(document, mark) for document, marks in pages.PAGES.items() for mark in marks}


def test_remade_commands_stand_on_the_pages():
    script = (pages.HERE / "remake.sh").read_text()
    commands = re.findall(r"^\$here\.(\S+)(.*)$", script, re.MULTILINE)
    assert len(commands) > 10
    for module, options in commands:
        assert importlib.util.find_spec(f"benchmarks.{module}")
        written = re.findall(r"--json \$here(\S+)", options)
        assert all(f"--json benchmarks{path}" in RESULTS for path in written)
