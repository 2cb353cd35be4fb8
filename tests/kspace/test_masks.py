import random
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from fastmri.data import subsample

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.masks import DrawnMask, LineType, column_mask, draw_mask, drawn_mask, true_acceleration

KINDS = get_args(LineType)
SIZES = [(64, 4, 0.08), (368, 4, 0.08), (371, 8, 0.04)]
FUNCTIONS = {
    "random": subsample.RandomMaskFunc,
    "equispaced": subsample.EquispacedMaskFractionFunc,
    "magic": subsample.MagicMaskFunc,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "acceleration", "fraction"), SIZES)
def test_the_centre_is_always_measured_and_the_nominal_acceleration_kept_on_average(
    kind, width, acceleration, fraction
):
    masks = np.stack([column_mask(width, acceleration, fraction, kind, f"scan {i}") for i in range(50)])
    assert masks.shape == (50, width)
    assert masks.dtype == bool
    half = (round(width * fraction) - 1) // 2
    assert masks[:, width // 2 - half : width // 2 + half + 1].all()
    wanted = width / acceleration
    if kind == "magic":  # which measures the centre besides
        wanted += (1 - 1 / acceleration) * fraction * width
    assert masks.sum(axis=1).mean() == pytest.approx(wanted, rel=0.06, abs=2 * (kind == "magic"))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_fastmri_s_with_the_file_name_as_seed(kind):
    """As its `UnetDataTransform` seeds them; global random states stay untouched."""

    def states():
        numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 (the legacy global is what is watched)
        return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()

    name = "file1000001.h5"
    expected, _ = FUNCTIONS[kind]([0.04], [8])((1, 368, 2), seed=tuple(ord(letter) for letter in name))
    before = states()
    np.testing.assert_array_equal(column_mask(368, 8, 0.04, kind, name), expected[0, :, 0] == 1)
    assert states() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center_fraction", [0.25, 1.0])
def test_a_centre_that_uses_up_every_column_is_refused(kind, center_fraction):
    with pytest.raises(UsageError, match="at acceleration 4: lower one"):
        column_mask(64, 4, center_fraction, kind, "scan")


def test_a_centre_that_leaves_one_column_to_draw_is_taken():
    """Of 64 columns at 4x 16 are measured, 15 of them in the centre."""
    assert column_mask(64, 4, 15 / 64, "equispaced", "scan")[32 - 7 : 32 + 8].all()


def test_a_sampling_is_completed_with_defaults():
    found = drawn_mask(4)
    assert found == DrawnMask(4, 0.08, "random")
    assert drawn_mask(8) == DrawnMask(8, 0.04, "random")
    assert str(found) == "random columns 4x, centre 0.08"
    np.testing.assert_array_equal(found.mask((20, 368), "scan"), column_mask(368, 4, 0.08, "random", "scan"))
    assert drawn_mask(2, 0.9, "magic") == DrawnMask(2, 0.9, "magic")
    assert drawn_mask(None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((None, 0.08), "give --acceleration too"),
        ((None, None, "random"), "give --acceleration too"),
        ((None, None, None, "rows"), "give --acceleration too"),
        ((None, None, None, None, 0), "give --acceleration too"),
        ((4, None, "poisson", "rows"), "a Poisson disc has no lines"),
        ((1, None), "expected"),
        ((4, 0.0), "expected"),
        ((4, 1.0), "expected"),
    ],
)
def test_a_sampling_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        drawn_mask(*options)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_columns_of_the_turned_grid(kind):
    rows = drawn_mask(4, 0.1, kind, "rows").mask((96, 40), "scan")
    np.testing.assert_array_equal(rows, np.tile(column_mask(96, 4, 0.1, kind, "scan")[:, None], 40))
    assert str(drawn_mask(4, 0.1, kind, "rows")) == f"{kind} rows 4x, centre 0.1"


@pytest.mark.parametrize("kind", ["random", "equispaced"])
def test_a_number_as_seed_is_fastmri_s_and_the_name_does_not_matter(kind):
    expected, _ = FUNCTIONS[kind]([0.08], [4])((1, 368, 2), seed=7)
    for name in ("a.h5", "b.h5"):
        found = drawn_mask(4, mask_type=kind, seed=7).mask((640, 368), name)
        np.testing.assert_array_equal(found, expected[0, :, 0] == 1)
    assert (found != drawn_mask(4, mask_type=kind, seed=8).mask((640, 368), "a.h5")).any()


def test_a_poisson_disc_is_sigpy_s():
    poisson = pytest.importorskip("sigpy.mri").poisson
    drawn = drawn_mask(4, 0.1, "poisson", seed=7)
    found = drawn.mask((48, 40), "a.h5")
    np.testing.assert_array_equal(found, np.abs(poisson((48, 40), 4, (5, 4), seed=7)) == 1)
    assert true_acceleration(found) == pytest.approx(4, rel=0.05)
    assert found[24 - 2 : 24 + 2, 20 - 2 : 20 + 2].all()
    assert str(drawn) == "Poisson disc 4x, centre 0.1"
    by_name = [drawn_mask(4, 0.1, "poisson").mask((48, 40), name) for name in ("a.h5", "a.h5", "b.h5")]
    assert (by_name[0] == by_name[1]).all()
    assert (by_name[0] != by_name[2]).any()
    with pytest.raises(UsageError, match="no Poisson disc of 16x16 bins at acceleration 8"):
        drawn_mask(8, 0.6, "poisson").mask((16, 16), "a.h5")


def test_without_sigpy_a_poisson_disc_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy.mri", None)
    with pytest.raises(UsageError, match="poisson needs sigpy"):
        drawn_mask(4, None, "poisson").mask((32, 32), "a.h5")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, "rows"])
def test_a_mask_by_name_is_that_of_the_command_line(kind, axis):
    by_number = drawn_mask(4, 0.1, kind, axis, 7).mask((96, 40), "scan.h5")
    np.testing.assert_array_equal(draw_mask(kind, (3, 96, 40), 4, 0.1, axis=axis, seed=7), by_number)
    by_name = drawn_mask(4, 0.1, kind, axis).mask((96, 40), "scan.h5")
    np.testing.assert_array_equal(draw_mask(kind, (96, 40), 4, 0.1, axis=axis, seed="scan.h5"), by_name)
    assert draw_mask(kind, (96, 40), 4, axis=axis).shape == ((96, 40) if axis else (40,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_type": "spiral"}, "mask spiral: expected one of random, equispaced, magic, poisson"),
        ({"axis": "diagonal"}, "mask diagonal: expected one of columns, rows"),
        ({"shape": (40,)}, r"shape \(40,\): expected"),
        ({"shape": (0, 40)}, r"shape \(0, 40\), .*: expected"),
        ({"shape": 40}, "shape 40: expected"),
        ({"shape": (6.5, 40)}, "shape .*: expected"),
        ({"seed": -1}, "seed -1: expected positive sides, a whole acceleration, and a seed"),
        ({"seed": None}, "seed None: expected"),
        ({"acceleration": 4.5}, "acceleration 4.5, .*: expected"),
        ({"acceleration": None}, "acceleration None, .*: expected"),
        ({"acceleration": 4000}, "random columns 4000x, .*: measures nothing of 96x40 bins"),
        ({"acceleration": 1}, "acceleration 1: expected at least 2"),
    ],
)
def test_a_mask_by_name_that_cannot_be(change, message):
    with pytest.raises(UsageError, match=message):
        draw_mask(**{"mask_type": "random", "shape": (96, 40), "acceleration": 4, **change})


def test_true_acceleration_counts_bins():
    mask = np.zeros((3, 8), bool)
    assert true_acceleration(mask) is None
    mask[:, :2] = True
    assert true_acceleration(mask) == 4.0
