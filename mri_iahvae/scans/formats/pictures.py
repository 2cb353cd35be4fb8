"""Folders of PNG or JPEG pictures, one per slice."""

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.words import counted

MAX_SIDE = 2048
MAX_PIXELS = 2**28
"""Of all slices: a GiB as float32."""

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_WIDE = ("I", "F")  # Pillow's modes with more than 8 bits; I;16 and its like among them


def read_pictures(folder: Path) -> NDArray[np.float32]:
    """Read a folder of `.png`, `.jpg` or `.jpeg` files of one size, one per slice: float32 (slices, H, W).

    They are sorted by name (numbers within it by value: 2 before 10). 16-bit greyscale keeps its depth; colours
    become their luminance. Other files and hidden ones are left out.
    """
    paths = sorted((path for path in folder.iterdir() if _is_picture(path)), key=_by_number)
    if not paths:
        raise unusable(folder, "a folder of PNG or JPEG slices", "none in it", "check the path")
    first = _read(paths[0])
    if len(paths) * first.size > MAX_PIXELS:
        found = f"{counted(len(paths), 'picture')} of {first.shape[0]}x{first.shape[1]}"
        raise unusable(folder, f"at most {MAX_PIXELS} pixels in all", found, "split the folder")
    images = np.empty((len(paths), *first.shape), np.float32)
    for image, path in zip(images, paths, strict=True):
        values = _read(path)
        if values.shape != first.shape:
            (rows, columns), (height, width) = values.shape, first.shape
            wanted = f"{height}x{width} pixels as in {paths[0].name}"
            raise unusable(path, wanted, f"{rows}x{columns}", "keep slices of one size in a folder")
        image[:] = values
    return images


def _read(path: Path) -> NDArray:
    """Grey values (H, W); the size is checked before anything is decompressed."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only this format needs it

    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of large pictures: the size is checked here
            Image.open(path, formats=("PNG", "JPEG")) as picture,
        ):
            if max(picture.size) > MAX_SIDE:
                raise ValueError(f"{picture.height}x{picture.width} pixels")
            return np.asarray(picture if picture.mode.startswith(_WIDE) else picture.convert("L"))
    except UnidentifiedImageError as error:
        raise _refused(path, "another format") from error
    except Exception as error:
        # Decoders raise what they like on damaged bytes: SyntaxError, struct.error, OSError ...
        raise _refused(path, reason(error)) from error


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key: numbers by value, words by letters."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _refused(path: Path, found: str) -> ScanError:
    wanted = f"a PNG or JPEG picture of at most {MAX_SIDE}x{MAX_SIDE} pixels"
    return unusable(path, wanted, found, "save it again or leave it out")
