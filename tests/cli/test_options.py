"""Options: how they are read, which contradict each other, and how `--help` lists them."""

import click
import h5py
import numpy as np
import pytest

from mri_iahvae.cli.options import image_size, slice_list, steps
from mri_iahvae.cli.parts import Part, part


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
        (["--up-to", "64"], ["--up-to 64", "32x32 grid"]),
        (["--checkpoint", "nowhere"], ["--checkpoint nowhere"]),
        (["--device", "abacus"], ["--device abacus", "cpu"]),
        (["--slices", "4-0"], ["Invalid value for '--slices'"]),
        (["--seed", 2**32], ["--seed"]),
        (["--samples", 2, "--temperature", "nan"], ["--temperature"]),
        (["--temperature", 0.5], ["--temperature needs --samples"]),
        (["--method", "hybrid", "--keep-samples", "--samples", 0], ["--keep-samples needs --samples"]),
        (["--method", "amortized", "--steps", 5], ["--steps does not apply to --method amortized"]),
        (["--quality", "fast", "--steps", 5], ["--steps does not apply to --quality fast"]),
        (["--quality", "best", "--steps", 2], ["quality best chooses steps itself"]),
        (["--compile"], ["--compile: expected a CUDA device, found cpu"]),
        (["--unknown"], ["--unknown"]),
        (["--mask", __file__, "--mask-type", "random"], ["--mask-type", "give --acceleration too"]),
        (["--mask", __file__, "--acceleration", 4], ["--mask or --acceleration"]),
        (["--acceleration", 4, "--center-fraction", 0.5], ["leaves none to draw"]),
    ],
)
def test_impossible_options(reconstruct, make_scan, expect_error, options, words):
    arguments = [] if {"--quality", "--method"} & set(options) else ["--quality", "fast"]
    expect_error(reconstruct(make_scan(), *arguments, *options), 2, *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sigma", 1, "--relative-sigma", 1], ["--sigma or --relative-sigma"]),
        (["--sigma", "inf"], ["--sigma"]),
        (["--up-to", "8x8"], ["--up-to"]),
    ],
)
def test_impossible_options_of_denoise(denoise, make_scan, expect_error, options, words):
    expect_error(denoise(make_scan(), *options), 2, *words)


def test_an_option_of_earlier_versions_can_be_switched_off(reconstruct, make_scan):
    """There is no joint refinement any more: scripts that do without it go on, others stop."""
    assert reconstruct(make_scan(), "--across-steps", "0").exit_code == 0
    assert reconstruct(make_scan("other.h5"), "--across-steps", "3").exit_code == 2


@pytest.mark.parametrize("command", ["reconstruct", "denoise"])
@pytest.mark.parametrize(
    ("case", "words"), [("not HDF5", "HDF5"), ("no kspace", "no such dataset"), ("NaN", "slice 0")]
)
def test_files_that_cannot_be_used(cli, command, make_scan, expect_error, case, words):
    path = make_scan()
    if case == "not HDF5":
        path.write_text("no scan")
    else:
        with h5py.File(path, "r+") as file:
            if case == "NaN":
                file["kspace"][0] = np.nan
            else:
                del file["kspace"]
    expect_error(cli(command, path), 1, str(path), words)
