import importlib
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mri_iahvae import __version__
from mri_iahvae.cli import main
from mri_iahvae.cli.group import LazyGroup
from mri_iahvae.errors import IahvaeError, ScanError, UsageError


def run(*args):
    return CliRunner().invoke(main, list(args))


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_and_each_has_its_own(option):
    result = run(option)
    assert (result.exit_code, result.stderr) == (0, "")
    for name in main.entries:
        assert f"  {name}" in result.stdout
        assert "Examples:" in run(name, option).stdout


def test_version():
    assert run("--version").stdout == f"mri-iahvae, version {__version__}\n"


@pytest.mark.parametrize(
    "args", [["unknown"], ["simulate"], ["evaluate", "none", "none"], ["example", "--noise", "-1"]]
)
def test_wrong_usage_exits_with_2(args):
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_mistyped_command_suggests_another():
    assert "Did you mean 'reconstruct'?" in run("reconstrct").stderr
    assert "Did you mean" not in run("xyz").stderr


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (IahvaeError("it broke"), 1, "Error: it broke\n"),
        (ScanError("a.h5: bad"), 1, "Error: a.h5: bad\n"),
        (UsageError("not so"), 2, "Error: not so\n"),
        (KeyboardInterrupt(), 130, "Interrupted\n"),
        (KeyboardInterrupt("Interrupted at step 1"), 130, "Interrupted at step 1\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(monkeypatch, error, code, stderr):
    @click.command()
    def failing():
        raise error

    monkeypatch.setattr(importlib.import_module("mri_iahvae.cli.example"), "example", failing)
    result = run("example")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", stderr)


def test_a_bug_keeps_its_traceback():
    @click.command()
    def buggy():
        raise ZeroDivisionError

    group = LazyGroup("group", entries={})
    group.get_command = lambda *_: buggy
    assert isinstance(CliRunner().invoke(group, ["buggy"]).exception, ZeroDivisionError)


def test_module_and_exit_code(start, tmp_path):
    process = start(["simulate", ".", "-o", "out"], cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("Error: .: expected a folder of PNG")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("args", [["--help"], ["reconstruct", "--help"], ["example", "scan.h5"]])
def test_output_that_cannot_be_written_ends_in_one_line(start, tmp_path, args):
    """On a full disk, and where the reader of a pipe has gone."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        process = start(args, stdout=full, cwd=tmp_path)
        _, stderr = process.communicate(timeout=60)
    line = "Error: the output cannot be written: No space left on device\n"
    assert (process.returncode, stderr) == (1, line)
    (tmp_path / "scan.h5").unlink(missing_ok=True)
    reader, writer = os.pipe()
    os.close(reader)
    process = start(args, stdout=writer, cwd=tmp_path)
    os.close(writer)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr in ("", "Error: the output cannot be written: Broken pipe\n")
