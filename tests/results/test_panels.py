"""Panels of a figure: their windows, which are shown by default, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.results.panels import PANELS, FigureOptions, SliceView, Titles, slice_rows

PLAIN = FigureOptions()
DENOISE = Titles.of("denoise", 1)


@pytest.fixture
def view(rng):
    def make(size=(16, 16), grid=(16, 16), **more):
        kspace = rng.normal(size=grid) + 1j
        images = {"zero_filled": rng.random(size), "reconstruction": rng.random(size)}
        measured = np.where(np.arange(grid[1]) % 2, kspace, 0)
        return SliceView(1, **{**images, "measured": measured, "completed": kspace, **more})

    return make


def shown(view, options=PLAIN, titles=None):
    """First lines of the titles, row by row."""
    rows = slice_rows(view, titles or Titles(), options, None)
    return [[panel.title.splitlines()[0] for panel in row] for row in rows]


@pytest.mark.parametrize(
    ("error", "gain"), [(2.0, 1), (0.9, 1), (0.4, 2), (0.19, 5), (0.009, 100), (0.0, 1000)]
)
def test_errors_are_as_bright_as_their_titles_say(error, gain, view, rng):
    """Nothing becomes whiter than white; of 1, 2, 5, 10 ... the largest factor is taken."""
    reference = rng.random((16, 16))
    reference[0, 0] = 1  # white
    images = {
        "zero_filled": reference + error * rng.choice([-1, 1], (16, 16)),
        "reconstruction": reference + error / 10,
    }
    panels = view(reference=reference, **images).panels(DENOISE, PLAIN)
    assert panels["zero-filled-error"].title == f"error of noisy x{gain}"
    assert panels["error"].title == f"error of denoised x{gain}"
    for name, expected in (("zero-filled-error", error), ("error", error / 10)):
        np.testing.assert_allclose(panels[name].values, expected, atol=1e-9)  # in the units of the image
        assert (panels[name].black, panels[name].white) == (0, pytest.approx(1 / gain))


def test_a_fixed_factor_is_that_of_every_error(view, rng):
    one = view(reference=rng.random((16, 16)), deviation=rng.random((16, 16)))
    panels = one.panels(Titles(), FigureOptions(error_factor=3))
    for name in ("zero-filled-error", "error", "deviation"):
        assert panels[name].title.endswith(" x3")
        assert panels[name].white == pytest.approx(one.reference.max() / 3)


def test_a_deviation_is_as_bright_as_the_errors_and_alone_as_its_content(view):
    one = view(deviation=np.full((16, 16), 0.04), reconstruction=np.ones((16, 16)))
    assert one.panels(Titles(), PLAIN)["deviation"].title == "standard deviation x20"
    one = replace(one, reference=np.full((16, 16), 0.9), zero_filled=np.full((16, 16), 0.8))
    assert one.panels(Titles(), PLAIN)["deviation"].title == "standard deviation x5"  # 0.1 of 0.9


def test_what_was_removed_takes_the_place_of_errors_and_yields_to_them(view):
    one = view(removed=np.full((16, 16), 0.1), reconstruction=np.ones((16, 16)))
    row = ["noisy", "denoised", "removed x10", "noisy k-space", "denoised k-space"]
    assert shown(one, titles=DENOISE) == [row]
    with_reference = replace(one, reference=np.ones((16, 16)))
    assert not any("removed" in title for row in shown(with_reference) for title in row)
    assert shown(with_reference, FigureOptions(panels=("removed",)))[0][0].startswith("removed x")


def test_white_is_a_percentile_of_the_reference_else_of_the_reconstruction(view):
    ramp = np.arange(101.0 * 16).reshape(101, 16)
    one = view((101, 16), reconstruction=ramp)
    halved = replace(one, reference=ramp / 2)
    for options, white in ((PLAIN, ramp.max()), (FigureOptions(window=50.0), np.median(ramp))):
        assert one.panels(Titles(), options)["zero-filled"].white == pytest.approx(white)
        assert halved.panels(Titles(), options)["zero-filled"].white == pytest.approx(white / 2)
    sparse = np.zeros((16, 16))
    sparse[3, 4] = 7
    options = FigureOptions(window=50.0)
    assert view(reconstruction=sparse).panels(Titles(), options)["zero-filled"].white == 7
    assert view(reconstruction=0 * sparse).panels(Titles(), options)["zero-filled"].white == 1


def test_k_space_is_logarithmic_in_one_window_of_five_decades(view):
    bins = np.full((16, 16), 1e-9 + 0j)
    bins[8, 8], bins[0, 0] = 100j, 1
    panels = view(measured=bins, completed=bins / 10).panels(Titles(), PLAIN)
    for panel in (panels["measured-kspace"], panels["completed-kspace"]):
        assert (panel.black, panel.white, panel.unit) == (-3, 2, "log10 |k|")
    values = panels["completed-kspace"].values
    np.testing.assert_allclose([values[8, 8], values[0, 0], values[1, 1]], [1, -1, -3])


@pytest.mark.parametrize(
    ("fields", "lengths"),
    [
        ((), [4]),
        (("deviation",), [5]),
        (("reference",), [3, 4]),
        (("reference", "deviation"), [4, 4]),
        (("reference", "reference_kspace"), [4, 4]),
        (("reference", "reference_kspace", "deviation"), [3, 3, 3]),
        (("expected",), [5]),
        (("reference", "reference_kspace", "expected"), [3, 3, 3]),
    ],
)
def test_rows_are_full_whatever_is_there(view, rng, fields, lengths):
    found = shown(view(**{name: rng.random((16, 16)) for name in fields}))
    assert [len(row) for row in found] == lengths
    if "reference_kspace" in fields:  # k-space below its image, errors below theirs or beside both
        names = ["reference", "zero-filled", "reconstruction"]
        assert [row[:3] for row in (found[0], found[-1])] == [
            names,
            ["reference k-space", "measured k-space", "completed k-space"],
        ]
        if "deviation" in fields:
            ends = ["standard deviation", "error of zero-filled", "error of reconstruction"]
            assert all(title.startswith(end) for title, end in zip(found[1], ends, strict=True))


def test_expected_errors_are_in_colour_in_a_window_of_their_own(view, rng):
    expected = rng.random((16, 16))
    expected[0] = np.nan
    panels = view(expected=expected, deviation=rng.random((16, 16))).panels(Titles(), PLAIN)
    panel = panels["expected-error"]
    assert (panel.colours, panel.black, panel.white) == ("inferno", 0, np.nanmax(expected))
    assert panel.unit == panels["deviation"].unit
    assert {other.colours for name, other in panels.items() if name != "expected-error"} == {"gray"}
    nothing = view(expected=np.full((16, 16), np.nan)).panels(Titles(), PLAIN)
    assert nothing["expected-error"].white == 1


def test_panels_come_in_the_order_asked_for(view):
    options = FigureOptions(panels=("completed-kspace", "reconstruction"))
    assert shown(view(), options) == [["completed k-space", "reconstruction"]]


def test_the_box_is_marked_in_images_and_enlarged_below(view):
    options = FigureOptions(panels=("reconstruction", "completed-kspace", "zero-filled"), zoom=(2, 5, 4))
    one = view()
    above, below = slice_rows(one, Titles(), options, 0.5)
    assert [panel.box for panel in above] == [(2, 5, 4), None, (2, 5, 4)]
    assert [panel.title for panel in below] == ["reconstruction", "zero-filled"]
    np.testing.assert_array_equal(below[0].values, one.reconstruction[2:6, 5:9])
    assert [panel.window for panel in below] == [above[0].window, above[2].window]
    assert [panel.pixel for panel in (*above, *below)] == [0.5, None, None, 0.5, None]


AVAILABLE = {"zero-filled", "reconstruction", "measured-kspace", "completed-kspace"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"panels": ("error",)}, "--panels error: of a.h5 there are zero-filled, reconstruction, measured"),
        ({"zoom": (10, 0, 7)}, "--zoom 10,0,7: the image of a.h5 has 16x20 pixels"),
        ({"zoom": (0, 14, 7)}, "--zoom 0,14,7: "),
        ({"zoom": (0, 0, 4), "panels": ("measured-kspace",)}, "--zoom: the figure of a.h5 has none of"),
        ({"error_factor": 5}, "--error-factor: the figure of a.h5 has none of deviation, zero-filled-error"),
        ({"window": 99.0, "panels": ("measured-kspace",)}, "--window: the figure of a.h5 has none of"),
    ],
)
def test_what_a_scan_does_not_have_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        FigureOptions(**options).require(AVAILABLE, (16, 20), Path("a.h5"))


def test_what_a_scan_has_is_not_refused():
    FigureOptions(zoom=(10, 14, 6), window=99.0).require(AVAILABLE, (16, 20), Path("a.h5"))
    FigureOptions(error_factor=5).require(AVAILABLE | {"deviation"}, (16, 20), Path("a.h5"))
    sheet = FigureOptions(window=99.0, panels=("measured-kspace",), contact_sheet=True)
    sheet.require(AVAILABLE, (16, 20), Path("a.h5"))


def test_unknown_names_are_refused_in_one_line():
    with pytest.raises(UsageError, match=f"--panels reconstrction: no such panel; .* {', '.join(PANELS)}$"):
        FigureOptions(panels=("reference", "reconstrction"))
    with pytest.raises(UsageError, match="--figure-format gif: expected one of png, pdf, svg"):
        FigureOptions(figure_format="gif")


def test_a_comparison_has_errors_below_its_images(view, rng):
    """In the order asked for, each brightened alike; what was measured stands below the reference."""
    images = {name: rng.random((16, 16)) for name in ("zero-filled", "tv")}
    one = view(compared=images, deviation=rng.random((16, 16)))
    assert shown(one) == [["zero-filled", "total variation", "reconstruction", "standard deviation x1"]]
    one = view(reference=rng.random((16, 16)), compared=images)
    above, below = shown(one)
    assert above == ["reference", "zero-filled", "total variation", "reconstruction"]
    assert below[0] == "measured k-space"
    names = ["zero-filled", "total variation", "reconstruction"]
    assert [title.rpartition(" ")[0] for title in below[1:]] == [f"error of {name}" for name in names]
    assert len({title.rpartition(" ")[2] for title in below[1:]}) == 1
    zoomed = shown(one, FigureOptions(zoom=(2, 5, 4)))
    assert [len(row) for row in zoomed] == [4, 4, 4, 3]
    assert shown(one, FigureOptions(panels=("tv-error", "tv")))[0][1] == "total variation"
