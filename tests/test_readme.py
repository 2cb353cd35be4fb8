"""The README's commands: present where CI looks for them, and known to the command line."""

import re
import shlex
from pathlib import Path

import click
import pytest

from mri_iahvae.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()


def marked_command(marker):
    blocks = re.findall(rf"^<!-- ci: {marker} -->\n```bash\n(.*?)\n```$", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    return blocks[0]


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
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && ")
    assert [call[0] for call in cli_calls(f"```bash\n{command}\n```")] == ["example", "reconstruct"]


def test_the_second_command_tests_everything():
    command = marked_command("test")
    assert "\n" not in command
    install, tools = (
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]'",
        ".venv/bin/",
    )
    checks = ("pytest", "ruff check .", "ruff format --check .", "mypy")
    assert command == " && ".join([install, *(tools + check for check in checks)])


@pytest.mark.parametrize("arguments", list(cli_calls(README)), ids=" ".join)
def test_the_command_line_knows_every_call(arguments):
    check_call(main, arguments)


def test_calls_are_found_wherever_bash_allows_them():
    text = """
```bash
.venv/bin/mri-iahvae one a.h5 -o 'b c' && mri-iahvae two > log  # mri-iahvae three
CUDA_VISIBLE_DEVICES=0 mri-iahvae four \\
    --five 5
```
```text
mri-iahvae six
```
"""
    assert list(cli_calls(text)) == [["one", "a.h5", "-o", "b c"], ["two"], ["four", "--five", "5"]]


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["--no-such-option"], ["train", "--no-such-option"]]
)
def test_wrong_calls_are_noticed(arguments):
    with pytest.raises(click.UsageError):
        check_call(main, arguments)
