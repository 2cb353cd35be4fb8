"""What the values of a scan show, and that no command computes with data that contradict themselves."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.kspace.sampling_pattern import sampling_pattern
from mri_iahvae.pipeline.training_data import TrainingData
from mri_iahvae.scans.findings import data_findings, require_consistent, sampling_doubts, sampling_findings
from mri_iahvae.scans.reader import Reading, open_scan
from mri_iahvae.scans.survey import survey
from mri_iahvae.scans.undersampling import Sampling
from tests.array_files import save_array

CORNER = {"rows": (-2,), "columns": (-1,), "both": (-2, -1)}
FILLED = "rows 8 to 39 of 48 alone hold data, as of a matrix filled up with zeros"
ECHO = "rows 12 to 47 of 48 alone are measured, as of a partial echo"


@pytest.fixture
def write(tmp_path, head_kspace, rng):
    """Writes noisy k-space of heads, changed, as a scan."""

    def make(change=lambda kspace: kspace, name="scan.h5", size=48, slices=2):
        kspace = head_kspace(slices, size)
        noise = rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape)
        kspace = kspace + 1e-3 * np.abs(kspace).max() * noise
        return save_array(tmp_path / name, change(kspace).astype(np.complex64), "kspace")

    return make


def texts(path, **reading):
    scan = open_scan(path, Reading(**reading))
    return [f"{one.level}: {one.text}; {one.fix}" for one in data_findings(scan, survey(scan))]


def test_nothing_is_said_of_a_good_scan(write, tmp_path, rng):
    assert texts(write()) == []
    assert texts(write(lambda kspace: np.where(np.arange(48) % 3, kspace, 0))) == []
    assert texts(write(lambda kspace: kspace[:, :44, 3:])) == []  # DC off by two rows and a column
    noise = rng.normal(size=(4, 64, 60)) + 1j * rng.normal(size=(4, 64, 60))
    assert texts(write(lambda _: noise)) == []


@pytest.mark.parametrize("axes", CORNER)
def test_dc_in_the_corner_is_an_error_that_an_option_mends(write, axes):
    path = write(lambda kspace: np.fft.ifftshift(kspace, axes=CORNER[axes]))
    (text,) = texts(path)
    assert text.startswith("error: k-space is strongest at row ")
    assert f"--fftshift {axes} moves it there" in text
    scan = open_scan(path)
    with pytest.raises(ScanError, match=f"--fftshift {axes}"):
        require_consistent(scan, survey(scan))
    assert texts(path, fftshift=axes) == []
    mended = open_scan(path, Reading(fftshift=axes)).read(1)
    np.testing.assert_array_equal(mended, np.fft.fftshift(open_scan(path).read(1), axes=CORNER[axes]))


def test_lost_rows_are_a_warning(write):
    (text,) = texts(write(lambda kspace: kspace[:, 12:]))
    assert text.startswith("warning: k-space is strongest at row 12, column 24, and DC is expected at 18, 24")


@pytest.mark.parametrize("size", [48, 51])
@pytest.mark.parametrize("axes", CORNER)
def test_an_image_cut_in_two_is_named_and_mended(write, axes, size):
    good = open_scan(write(size=size, name="good.h5")).read(slice(None))
    phases = {
        axis: np.exp(-2j * np.pi * (np.arange(size) - size // 2) * (size // 2) / size)
        for axis in CORNER[axes]
    }
    moved = good.astype(complex)
    for axis, phase in phases.items():
        moved = moved * (phase[:, None] if axis == -2 else phase)
    path = write(lambda _: moved, size=size)
    (text,) = texts(path)
    assert text.startswith("warning: neighbouring bins alternate in sign")
    assert f"--centre-image {axes} moves it there" in text
    assert texts(path, centre_image=axes) == []
    mended = open_scan(path, Reading(centre_image=axes)).read(slice(None))
    np.testing.assert_allclose(mended, good, atol=1e-5 * np.abs(good).max())


@pytest.mark.parametrize("noise", [0, 0.02])
def test_a_bright_rim_near_the_ends_of_the_field_is_no_cut(write, noise, rng):
    """As the skull of the Shepp-Logan phantom, whose sides hold most of its energy."""
    y, x = (np.mgrid[:64, :64] - 32) / 32
    radius = np.hypot(x / 0.9, y / 0.7)
    head = 0.15 * (radius < 1) + 1.0 * (np.abs(radius - 0.97) < 0.03) * (np.abs(y) < 0.4)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(head), norm="ortho"))
    noisy = kspace + noise * (rng.normal(size=(2, 64, 64)) + 1j * rng.normal(size=(2, 64, 64)))
    path = write(lambda _: noisy.astype(np.complex64), size=64)
    assert np.abs(np.angle(survey(open_scan(path)).ramp[1])) > 0.75 * np.pi
    assert texts(path) == []


def test_an_image_about_zero_is_not_cut_in_two(write, head_kspace):
    """Less a constant, its background is strong at the edges of the field, and DC of another sign."""
    kspace = head_kspace(2, 48)
    kspace[:, 24, 24] -= 2 * np.abs(kspace).max()
    assert texts(write(lambda _: kspace)) == []


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 2, 3, 1)])
def test_coils_last_are_an_error(write, order, head_kspace):
    """(rows, columns, coils), and (slices, rows, columns, coils)."""
    coils = head_kspace(1, 48) * np.linspace(0.5, 1, 8)[:, None, None]
    stack = coils if len(order) == 3 else np.stack([coils, 2 * coils])
    (text, *_) = texts(write(lambda _: stack.transpose(order)))
    assert text.startswith("error: ")
    assert "look like lines of k-space" in text
    assert "transpose the array to the axes (slices, " in text


def test_narrow_arrays_are_asked_about(write):
    (text,) = texts(write(lambda kspace: kspace[..., 16:32]))
    assert "48 rows and 16 columns: is that the order of the axes?" in text


def test_an_image_is_not_taken_for_kspace(write):
    def image(kspace):
        return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1))), axes=(-2, -1))

    (text,) = texts(write(image))
    assert text.startswith("warning: the values vary smoothly and have no peak: they look like an image")
    point = np.exp(0.1j * np.arange(48)) * np.ones((2, 48, 1))
    noisy = write(lambda kspace: point + 1e-3 * kspace / np.abs(kspace).max())
    assert not any("image" in text for text in texts(noisy))


def test_repeated_lines_are_named(write):
    def repeat(kspace):
        kspace[1, :, 31:34] = kspace[1, :, 30:31]
        return kspace

    (text,) = texts(write(repeat))
    assert "3 lines of k-space repeat the one before, number for number: slice 1, column 31 first" in text


def test_training_refuses_what_inspect_calls_an_error(write, tmp_path):
    write(name="a.h5")
    path = write(lambda kspace: np.fft.ifftshift(kspace, axes=(-2, -1)), name="b.h5")
    with pytest.raises(ScanError, match=r"b\.h5: .*--fftshift both"):
        TrainingData.open(tmp_path, 32)
    path.unlink()
    write(lambda kspace: np.where(np.arange(48) == 40, 0, kspace) + 0, name="b.h5")
    assert TrainingData.open(tmp_path, 32).counts == (2, 2)


@pytest.mark.parametrize("fraction", [0.2, 0.4])
def test_a_mask_with_dc_in_the_corner_is_a_warning(write, rng, fraction):
    columns = rng.random(48) < fraction
    columns[19:29] = True
    path = write(lambda kspace: kspace)
    scan = open_scan(path)
    for mask, odd in ((columns, False), (np.fft.ifftshift(columns) | (np.arange(48) == 24), True)):
        used = replace(scan, mask=np.broadcast_to(mask, (48, 48)))
        found = [text for text in sampling_doubts(used) if "edge of k-space" in text]
        assert bool(found) is odd


def test_kspace_in_three_dimensions_is_a_warning(write):
    def along_slices(kspace):
        volume = np.fft.ifftshift(np.tile(kspace[:1], (16, 1, 1)) * np.linspace(0.5, 1, 16)[:, None, None], 0)
        return np.fft.fftshift(np.fft.fft(volume, axis=0), 0)

    (text,) = texts(write(along_slices))
    assert text.startswith("warning: slice 8 holds 9")
    assert "3-D k-space" in text


def test_a_mask_along_the_wrong_axis_is_named(write, tmp_path):
    """Rows were left out, and the mask of a square array has them as columns."""
    lines = np.arange(48) % 4 == 0
    path = write(lambda kspace: kspace * lines[:, None])
    bare = open_scan(path)
    np.save(tmp_path / "lines.npy", lines)
    (text,) = Sampling(mask_path=tmp_path / "lines.npy").apply(bare).warnings
    assert text.endswith("are not in the file: taken as unmeasured; it fits with rows and columns exchanged")
    with h5py.File(path, "r+") as file:
        file["mask"] = lines
    assert any("the mask fits with rows and columns exchanged" in text for text in texts(path))
    with h5py.File(path, "r+") as file:
        file["mask"][...] = np.arange(48) % 5 == 0
    assert any("correct the mask, or remove it" in text for text in texts(path))
    assert not any("exchanged" in text for text in texts(path))


@pytest.mark.parametrize(
    ("rows", "columns", "level", "text"),
    [
        ((8, 40), (0, 48), "warning", FILLED),
        ((8, 40), (8, 40), "warning", FILLED),
        ((12, 48), (0, 48), "note", ECHO),
        ((12, 48), (16, 48), "note", ECHO),
        ((0, 48), (16, 48), None, None),
    ],
)
@pytest.mark.parametrize("step", [1, 3])
def test_empty_outer_rows_are_called_what_they_are(write, rows, columns, level, text, step):
    def cut(kspace):
        left = np.zeros_like(kspace)
        chosen = ..., slice(*rows), slice(*columns, step)
        left[chosen] = kspace[chosen]
        return left

    scan = open_scan(write(cut))
    found = list(sampling_findings(scan, sampling_pattern(scan.sparsest_mask, scan.acquired)))
    outer = [(finding.level, finding.text) for finding in found if "rows" in finding.text]
    assert [(a, b.split(":")[0]) for a, b in outer] == ([(level, text)] if text else [])
    assert any("completed by the model" in doubt for doubt in sampling_doubts(scan)) is (level == "warning")


def test_training_tells_what_is_odd_about_a_file(write, tmp_path):
    write(name="a.h5")
    write(lambda kspace: kspace[:, 12:], name="b.h5")
    (strongest,) = [text for text in TrainingData.open(tmp_path, 32).warnings if "strongest" in text]
    assert strongest.startswith("b.h5: k-space is strongest at row 12")


@pytest.mark.parametrize(
    ("axis", "words"), [(-2, "rows look like those of an image"), (-1, "columns look like")]
)
@pytest.mark.parametrize("step", [1, 3])
def test_data_of_which_one_axis_is_transformed_are_named(write, axis, words, step):
    def hybrid(kspace):
        image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, axis), axis=axis), axis)
        lines = (np.arange(48) % step == 0) | (np.abs(np.arange(48) - 24) < 4)
        return image * (lines if axis == -2 else lines[:, None])

    found = [text for text in texts(write(hybrid)) if "transformed already" in text]
    assert [text.startswith(f"warning: {words}") for text in found] == [True]
    assert f"along axis {axis} of the array" in found[0]
