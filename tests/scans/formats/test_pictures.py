import io
import re

import numpy as np
import pytest
from PIL import Image

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.formats.magnitude_images import read_magnitudes
from mri_iahvae.scans.formats.pictures import read_pictures
from tests import refusals
from tools.robustness.bombs import png


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (4, 20, 17)).astype(np.uint8)


def refused(folder, *patterns):
    refusals.refused(lambda: read_pictures(folder), re.escape(str(folder)), "expected", "found", *patterns)


def test_slices_in_the_order_of_their_numbers(tmp_path, grey):
    for name, values in zip(("slice10.png", "slice2.png", "slice1.PNG"), grey, strict=False):
        Image.fromarray(values).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._slice3.png").touch()
    (tmp_path / "folder.png").mkdir()
    images = read_pictures(tmp_path)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, grey[[2, 1, 0]])


def test_other_depths_and_colours(tmp_path, grey):
    wide = grey[0].astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(np.repeat(grey[0, ..., None], 3, axis=2)).save(tmp_path / "b.png")
    Image.fromarray(grey[0]).convert("P").save(tmp_path / "c.png")
    images = read_pictures(tmp_path)
    np.testing.assert_array_equal(images[0], wide)
    np.testing.assert_allclose(images[1], grey[0], atol=1)
    np.testing.assert_allclose(images[2], grey[0], atol=1)


def test_jpeg(tmp_path):
    smooth = np.add.outer(np.arange(20), np.arange(17)).astype(np.uint8) * 5
    for suffix in ("jpg", "jpeg"):
        Image.fromarray(smooth).save(tmp_path / f"a.{suffix}", quality=95)
    np.testing.assert_allclose(read_pictures(tmp_path), [smooth, smooth], atol=4)


def test_sizes_that_differ_are_refused(tmp_path, grey):
    Image.fromarray(grey[0]).save(tmp_path / "a.png")
    Image.fromarray(grey[1].T).save(tmp_path / "b.png")
    refused(tmp_path, "b.png", "20x17 pixels as in a.png", "17x20")


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    refused(tmp_path, "none in it")
    with pytest.raises(ScanError, match="none in it"):
        list(read_magnitudes(tmp_path))


def test_hostile_pictures_are_refused(tmp_path, grey):
    stream = io.BytesIO()
    Image.fromarray(grey[0]).save(stream, "PNG")
    bitmap = io.BytesIO()
    Image.fromarray(grey[0]).save(bitmap, "BMP")
    for content, pattern in [
        (b"", "another format"),
        (b"nonsense", "another format"),
        (bitmap.getvalue(), "another format"),
        (stream.getvalue()[:60], ""),
        (png(60_000, 60_000, 100), ""),
        (png(9000, 9000, 100), "9000x9000 pixels"),
        (png(2049, 1, 100), "1x2049 pixels"),
        (png(0, 8, 100), ""),
    ]:
        (tmp_path / "a.png").write_bytes(content)
        refused(tmp_path, "a.png", pattern)
