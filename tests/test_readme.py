"""Commands of README and docs: present where CI looks for them, and known to the command line."""

import re
import shlex
from pathlib import Path

import click
import pytest

from mri_iahvae.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "results"]
PROSE = "\n".join([README, *(page.read_text() for page in PAGES)])


def marked_command(marker):
    (block,) = re.findall(rf"^<!-- ci: {marker} -->\n```bash\n(.*?)\n```$", README, re.DOTALL | re.MULTILINE)
    assert "\n" not in block
    return block


def cli_calls(text):
    """Arguments of every `mri-iahvae ...` in the ```bash blocks of a Markdown text."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            call = None
            for token in [*lexer, ";"]:
                if set(token) <= set("();<>|&"):
                    if call is not None:
                        yield call
                    call = None
                elif call is not None:
                    call.append(token)
                elif Path(token).name == "mri-iahvae":
                    call = []


def check_call(command, arguments, parent=None):
    """Raise click.UsageError where the command or a subcommand does not know one of the arguments."""
    context = click.Context(command, parent=parent, info_name=command.name, **command.context_settings)
    _, rest, _ = command.make_parser(context).parse_args(list(arguments))
    if isinstance(command, click.Group) and rest:
        subcommand = command.get_command(context, rest[0])
        if subcommand is None:
            raise click.UsageError(f"no such command: {rest[0]}", context)
        check_call(subcommand, rest[1:], context)


def test_the_first_command_installs_and_reconstructs():
    command = marked_command("main")
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && ")
    assert [call[0] for call in cli_calls(f"```bash\n{command}\n```")] == ["example", "reconstruct"]


def test_the_second_command_tests_everything():
    install = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]'"
    checks = ("pytest", "ruff check .", "ruff format --check .", "mypy")
    assert marked_command("test") == " && ".join([install, *(f".venv/bin/{check}" for check in checks)])


@pytest.mark.parametrize(
    "arguments", [call for call in cli_calls(PROSE) if call != ["--version"]], ids=" ".join
)
def test_the_command_line_knows_every_call(arguments):
    check_call(main, arguments)


def test_no_page_names_an_option_that_does_not_exist():
    context = click.Context(main)
    known = {"--help", "--version"}
    for name in main.list_commands(context):
        known |= {text for option in main.get_command(context, name).params for text in option.opts}
    others = "pip |sphinx |torchrun |srun "  # programs with options of their own
    lines = [line for line in PROSE.splitlines() if not re.search(others, line)]
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", "\n".join(lines))) <= known
