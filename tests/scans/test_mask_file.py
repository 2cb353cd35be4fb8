"""Mask files: what they say, and that hostile or useless ones end in one line, cheaply."""

import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.mask_file import read_mask_file, require_mask, to_mask
from tests import refusals
from tests.array_files import save_array

HEIGHT, WIDTH = 20, 17
SUFFIXES = [".npy", ".npz", ".h5", ".hdf5"]
DTYPES = [bool, np.uint8, np.int64, np.float16, np.float32, np.longdouble, np.complex64, np.complex128]


@pytest.fixture
def columns(rng):
    return rng.random(WIDTH) < 0.4


@pytest.fixture
def bins(rng):
    return rng.random((HEIGHT, WIDTH)) < 0.3


@pytest.fixture
def save(tmp_path):
    return lambda values, suffix=".npy", name="mask": save_array(tmp_path / f"lines{suffix}", values, name)


def refused(path, *words):
    """The file is refused in one short line that names it, what was expected, found, and what to do."""
    texts = (f"{path}: expected ", ", found", "; ", *words)
    refusals.refused(lambda: read_mask_file(path, HEIGHT, WIDTH), *map(re.escape, texts))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_and_bins_of_any_number_type(save, columns, bins, suffix, dtype):
    found = read_mask_file(save(columns.astype(dtype), suffix), HEIGHT, WIDTH)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.tile(columns, (HEIGHT, 1)))
    np.testing.assert_array_equal(read_mask_file(save(bins.astype(dtype), suffix), HEIGHT, WIDTH), bins)


@pytest.mark.parametrize("axes", [(1, WIDTH), (1, 1, WIDTH, 1), (1, HEIGHT, WIDTH), (HEIGHT, WIDTH, 1)])
def test_axes_of_length_one(save, bins, axes):
    mask = bins if HEIGHT in axes else bins[:1]
    found = read_mask_file(save(mask.reshape(axes)), HEIGHT, WIDTH)
    np.testing.assert_array_equal(found, np.broadcast_to(mask, (HEIGHT, WIDTH)))


def test_axes_of_length_one_on_a_square(save, columns):
    found = read_mask_file(save(columns.reshape(1, WIDTH, 1)), WIDTH, WIDTH)
    np.testing.assert_array_equal(found, np.tile(columns, (WIDTH, 1)))
    with pytest.raises(ScanError, match=r"found shape \(17, 1\)"):  # which may mean rows
        read_mask_file(save(np.ones((WIDTH, 1))), WIDTH, WIDTH)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "shape", [(3, WIDTH), (3, 1, WIDTH), (3, HEIGHT, WIDTH), (3, 1, HEIGHT, WIDTH), (3, 1, WIDTH, 1)]
)
def test_a_mask_for_each_slice(save, rng, suffix, shape):
    masks = rng.random(shape) < 0.4
    found = read_mask_file(save(masks, suffix), HEIGHT, WIDTH, 3)
    wanted = masks.reshape(3, HEIGHT if HEIGHT in shape else 1, WIDTH)
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, (3, HEIGHT, WIDTH)))
    refused(save(masks, suffix), f"shape {shape}")  # of one slice


def test_an_axis_of_slices_or_rows(save, rng):
    """As many slices as rows: what the axis means must be given, unless it makes no difference."""
    masks = rng.random((HEIGHT, WIDTH)) < 0.4
    choices = r"could be slices or rows; store it as \(20, 1, 17\) or as \(1, 20, 17\)"
    with pytest.raises(ScanError, match=choices):
        read_mask_file(save(masks), HEIGHT, WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_mask_file(save(masks[None]), HEIGHT, WIDTH, HEIGHT), masks)
    by_slice = read_mask_file(save(masks[:, None]), HEIGHT, WIDTH, HEIGHT)
    np.testing.assert_array_equal(by_slice, np.repeat(masks[:, None], HEIGHT, 1))
    columns = np.tile(masks[0], (HEIGHT, 1))
    np.testing.assert_array_equal(read_mask_file(save(columns), HEIGHT, WIDTH, HEIGHT), columns)


@pytest.mark.parametrize(
    "dims", [(1, WIDTH), (HEIGHT, WIDTH), (1, HEIGHT, WIDTH), (1, WIDTH, 3), (HEIGHT, WIDTH, 3)]
)
@pytest.mark.parametrize("name", ["lines.cfl", "lines.hdr", "lines"])
def test_pairs_of_bart(tmp_path, rng, dims, name):
    mask = rng.random(dims) < 0.5
    save_array(tmp_path / "lines.cfl", mask)
    found = read_mask_file(tmp_path / name, HEIGHT, WIDTH, 3)
    by_slice = mask.transpose(2, 0, 1) if dims[-1] == 3 else mask.reshape(-1, WIDTH)
    np.testing.assert_array_equal(found, np.broadcast_to(by_slice, (*found.shape[:-2], HEIGHT, WIDTH)))
    with pytest.raises(ScanError, match="expected a mask"):
        read_mask_file(tmp_path / name, HEIGHT, WIDTH + 1, 3)


def test_the_array_called_mask_or_the_only_one(tmp_path, columns):
    np.savez(tmp_path / "a.npz", other=np.ones(3), mask=columns)
    np.savez(tmp_path / "b.npz", lines=columns)
    for name in "ab":
        assert (read_mask_file(tmp_path / f"{name}.npz", HEIGHT, WIDTH) == columns).all()
    np.savez(tmp_path / "c.npz", one=columns, two=columns)
    refused(tmp_path / "c.npz", "2 arrays, none called 'mask'")
    zipfile.ZipFile(tmp_path / "d.npz", "w").close()
    refused(tmp_path / "d.npz", "0 arrays")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.ones(HEIGHT), "shape (20,)"),
        (np.ones((WIDTH, HEIGHT)), "shape (17, 20)"),
        (np.ones((HEIGHT, 1)), "shape (20, 1)"),
        (np.ones((3, HEIGHT, WIDTH)), "shape (3, 20, 17)"),
        (np.ones(()), "shape ()"),
        (np.ones(0), "shape (0,)"),
        (np.full(WIDTH, 1j), "the value 0+1j"),
        (np.full(WIDTH, np.nan), "the value nan"),
        (np.linspace(0, 1, WIDTH), "the value 0.0625"),
        (np.full((HEIGHT, WIDTH), -1), "the value -1"),
        (np.full(WIDTH, b"1"), "shape (17,), type"),
    ],
)
def test_what_is_no_mask_is_refused(save, suffix, values, word):
    refused(save(values, suffix), word, f"shape ({WIDTH},) or ({HEIGHT}, {WIDTH})")


def test_other_files_are_refused(save, tmp_path, columns):
    for suffix in SUFFIXES:
        refused(tmp_path / f"none{suffix}", "no such file")
        (tmp_path / f"folder{suffix}").mkdir()
        refused(tmp_path / f"folder{suffix}", "a folder")
        (tmp_path / f"text{suffix}").write_text("1 0 1\n1")
        refused(tmp_path / f"text{suffix}")
        (tmp_path / f"empty{suffix}").touch()
        refused(tmp_path / f"empty{suffix}")
    refused(tmp_path / "mask.mat", "'.mat'")
    refused(tmp_path / "mask", "suffix ''")
    refused(save(columns, ".h5", "lines"), "dataset 'mask'", "found none")


class Explosive:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_nothing_is_unpickled(save, suffix):
    refused(save(np.array([Explosive()] * WIDTH, object), suffix), "type object")


def npy_bytes(descr, shape, data=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


def archived(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("mask.npy", "w") as member:
        for part in content:
            member.write(part)
    return path


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (-1,), (HEIGHT, -WIDTH), (1,) * 40])
def test_absurd_sizes_are_refused_by_the_header_alone(tmp_path, shape):
    content = npy_bytes("|u1", shape)
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path / "a.npy", "shape (")
    refused(archived(tmp_path / "a.npz", [content]), "shape (")


@pytest.mark.parametrize("part", ["data", "header"])
def test_decompression_bombs_stay_small(tmp_path, part):
    """64 MiB of zeros behind a good header, or a header of 64 MiB: neither is inflated."""
    start = (
        npy_bytes("|u1", (10**8,)) if part == "data" else b"\x93NUMPY\x02\x00" + (2**26).to_bytes(4, "little")
    )
    path = archived(tmp_path / "bomb.npz", [start, *[bytes(2**20)] * 64])
    assert path.stat().st_size < 2**17
    tracemalloc.start()
    refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_limit_is_refused(tmp_path, columns, method):
    path = archived(tmp_path / "a.npz", [npy_bytes("|b1", (WIDTH,), columns.tobytes())], method)
    refused(path, "compression method")


def test_headers_of_other_versions(tmp_path, columns):
    for version in ((2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, columns, version=version)
        if version == (3, 0):
            refused(tmp_path / "a.npy", "version 3.0")
        else:
            assert (read_mask_file(tmp_path / "a.npy", HEIGHT, WIDTH) == columns).all()
    old = b"{'descr': '|b1', 'fortran_order': False, 'shape': (17L,), }".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + old + columns.tobytes())  # by Python 2
    assert (read_mask_file(tmp_path / "a.npy", HEIGHT, WIDTH) == columns).all()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    hnp.arrays(
        hnp.scalar_dtypes() | hnp.byte_string_dtypes() | hnp.unicode_string_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_a_mask_or_refused(values):
    def read():
        require_mask("mask.npy", values.shape, values.dtype, (1, 4, 5))
        return to_mask("mask.npy", values, (1, 4, 5))

    try:
        mask = read()
    except ScanError:
        refusals.refused(read)
    else:
        assert mask.shape == (4, 5)
        assert values.sum() * (20 // values.size) == mask.sum()


@pytest.mark.parametrize("axes", [(HEIGHT,), (1, HEIGHT), (HEIGHT, 1)])
def test_a_mask_as_long_as_the_rows_is_named(save, axes):
    advice = "as one of rows, store it as (20, 17), or exchange rows and columns of k-space"
    refused(save(np.ones(axes)), advice)
