import json
from dataclasses import asdict

import click
import pytest
from click.testing import CliRunner
from mri_iahvae.cli.outputs import output_options


@click.command()
@output_options
def command(outputs):
    click.echo(json.dumps(asdict(outputs)))


def run(*args):
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_nothing_more_is_written_by_default():
    assert run() == {"nifti": False, "gif": False, "slices": [], "image_size": None}


def test_all_of_it():
    given = run("--nifti", "--gif", "--slices", "3", "--image-size", "320x256")
    assert given == {"nifti": True, "gif": True, "slices": [3], "image_size": [320, 256]}


@pytest.mark.parametrize("text", ["", "320", "320x", "0x320", "-1x320", "320x320x1", "1.5x2", "1000000x1"])
def test_sizes_that_are_none(text):
    result = CliRunner().invoke(command, ["--image-size", text])
    assert result.exit_code == 2
    assert "is not rows x columns, such as 320x320" in result.output


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("3,10,20", [3, 10, 20]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("7-7", [7]),
        ("20, 3 ,0-2", [20, 3, 0, 1, 2]),
        ("2,0-3,2", [2, 0, 1, 3]),
        ("0-15", list(range(16))),
    ],
)
def test_slice_lists(text, slices):
    assert run("--slices", text)["slices"] == slices


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is neither"),
        ("3,", "'' is neither"),
        ("-1", "'-1' is neither"),
        ("1.5", "'1.5' is neither"),
        ("all", "'all' is neither"),
        ("4-0", "as in 0-4"),
        ("0-16", "more than 16"),
        ("0-999999", "more than 16"),
    ],
)
def test_lists_that_are_none(text, reason):
    result = CliRunner().invoke(command, ["--slices", text])
    assert result.exit_code == 2
    assert "Invalid value for '--slices'" in result.output
    assert reason in result.output


def test_the_help_tells_the_default():
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "[default: (the middle one)]" in text
