"""Options: how they are read, which contradict each other, and how `--help` lists them."""

import math
import re

import click
import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.cli.options import image_size, slice_list, steps
from mri_iahvae.cli.parts import Part, part

HEADINGS = [
    "Sampling",
    "Quality and time",
    "Results",
    "Model and machine",
    "Reading",
    "Expert",
    "Other options",
]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (slice_list, "3,10,20", (3, 10, 20)),
        (slice_list, "0-4", (0, 1, 2, 3, 4)),
        (slice_list, "7-7", (7,)),
        (slice_list, "20, 3 ,0-2", (20, 3, 0, 1, 2)),
        (slice_list, "2,0-3,2", (2, 0, 1, 3)),
        (slice_list, "0-15", tuple(range(16))),
        (image_size, "320x256", (320, 256)),
        (image_size, " 320X256", (320, 256)),
        (steps, "0", 0),
        (steps, "10000", 10_000),
        (steps, "auto", "auto"),
        (part, "2/8", Part(2, 8, "--part")),
        (part, "1/1", Part(1, 1, "--part")),
    ],
)
def test_what_is_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "texts", "words"),
    [
        (slice_list, ["", "3,", "-1", "1.5", "all"], "is neither a slice number nor a range"),
        (slice_list, ["4-0"], "as in 0-4"),
        (slice_list, ["0-16", "0-999999"], "more than 16"),
        (image_size, ["", "320", "320x", "0x320", "-1x320", "320x320x1", "1.5x2", "1000000x1"], "320x320"),
        (steps, ["", "-1", "1.5", "many", "10001"], "neither a whole number from 0 to 10000 nor auto"),
        (part, ["", "1", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/4"], "is not I/N, such as 2/8"),
    ],
)
def test_what_cannot_be_read(read, texts, words):
    for text in texts:
        with pytest.raises(click.BadParameter, match=words):
            read(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--up-to", "7x9"], ["--up-to 7x9", "32x32"]),
        (["--up-to", "64"], ["--up-to 64", "32x32 grid"]),
        (["--checkpoint", "nowhere"], ["--checkpoint nowhere"]),
        (["--device", "abacus"], ["--device abacus", "cpu"]),
        (["--steps", "many"], ["--steps", "'many' is neither"]),
        (["--slices", "4-0"], ["Invalid value for '--slices'"]),
        (["--image-size", "320"], ["--image-size"]),
        (["--part", "3/2"], ["--part"]),
        (["--batch", 0], ["--batch"]),
        (["--seed", 2**32], ["--seed"]),
        (["--samples", -1], ["--samples"]),
        (["--samples", 2, "--temperature", "nan"], ["--temperature"]),
        (["--temperature", 0.5], ["--temperature needs --samples"]),
        (["--method", "hybrid", "--keep-samples", "--samples", 0], ["--keep-samples needs --samples"]),
        (["--method", "amortized", "--steps", 5], ["--steps does not apply to --method amortized"]),
        (["--method", "paper", "--samples", 3], ["--samples does not apply to --method paper"]),
        (["--method", "paper", "--steps", "auto"], ["steps auto"]),
        (["--quality", "fast", "--steps", 5], ["--steps does not apply to --quality fast"]),
        (["--quality", "fast", "--method", "hybrid"], ["quality fast chooses method itself: leave one"]),
        (["--quality", "best", "--steps", 2], ["quality best chooses steps itself: leave one"]),
        (["--compile"], ["--compile: expected a CUDA device, found cpu"]),
        (["--optimizer", "adam"], ["--optimizer"]),
        (["--unknown"], ["--unknown"]),
        (["--center-fraction", 0.08], ["--center-fraction", "give --acceleration too"]),
        (["--mask", __file__, "--mask-type", "random"], ["--mask-type", "give --acceleration too"]),
        (["--mask", __file__, "--acceleration", 4], ["--mask or --acceleration"]),
        (["--acceleration", 2.5], ["--acceleration"]),
        (["--acceleration", 4, "--center-fraction", "nan"], ["--center-fraction"]),
        (["--acceleration", 4, "--center-fraction", 0.5], ["leaves none to draw"]),
    ],
)
def test_impossible_options(reconstruct, make_scan, expect_error, options, words):
    arguments = ["--quality", "fast"] if "--quality" not in options and "--method" not in options else []
    if "--steps" in options:
        arguments = []
    expect_error(reconstruct(make_scan(), *arguments, *options), 2, *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sigma", 1, "--relative-sigma", 1], ["--sigma or --relative-sigma"]),
        (["--sigma", -1], ["--sigma"]),
        (["--sigma", "inf"], ["--sigma"]),
        (["--relative-sigma", "loud"], ["--relative-sigma"]),
        (["--up-to", "8x8"], ["--up-to"]),
    ],
)
def test_impossible_options_of_denoise(denoise, make_scan, expect_error, options, words):
    expect_error(denoise(make_scan(), *options), 2, *words)


@pytest.mark.parametrize("command", ["reconstruct", "denoise"])
def test_help_lists_options_under_headings(command):
    text = CliRunner().invoke(main, [command, "-h"]).stdout
    sections = dict(zip(*[iter(re.split(r"^(\S.*):$", text, flags=re.MULTILINE)[1:])] * 2, strict=True))
    extra = ["Noise level"] if command == "denoise" else []
    assert list(sections) == [*extra, *HEADINGS]
    for heading, options in {
        "Sampling": ["acceleration", "center-fraction", "mask-type", "mask"],
        "Quality and time": ["quality", "samples", "seed"],
        "Results": ["output", "json", "quiet"],
        "Expert": ["method", "steps", "data-consistency", "precision", "compile"],
    }.items():
        found = re.findall(r"^  (?:-\w, )?--([\w-]+)", sections[heading], re.MULTILINE)
        assert set(options) <= set(found)
    listed = re.findall(r"^  (?:-\w, )?--([\w-]+)", text, re.MULTILINE)
    options = main.get_command(click.Context(main), command).params
    hidden = [option.name for option in options if getattr(option, "hidden", False)]
    assert hidden == ["across_steps"]
    assert len(listed) == len(set(listed)) == len(options) - len(hidden)
    assert "default: (" not in text


def test_an_option_of_earlier_versions_can_be_switched_off(reconstruct, make_scan):
    """There is no joint refinement any more: scripts that do without it go on, others stop."""
    assert reconstruct(make_scan(), "--across-steps", "0").exit_code == 0
    assert reconstruct(make_scan("other.h5"), "--across-steps", "3").exit_code == 2


def test_spellings_agree_across_commands():
    """An option of one name has one short form and one kind everywhere."""
    kinds = {"--json": True, "--quiet": True, "--seed": False, "--output": False}
    short = {"--quiet": "-q", "--output": "-o"}
    for name in main.entries:
        for option in main.get_command(click.Context(main), name).params:
            for spelling in set(option.opts) & set(kinds):
                assert option.is_flag == kinds[spelling], name
                assert short.get(spelling, spelling) in option.opts, name
                assert spelling != "--seed" or option.type.max < math.inf, name
