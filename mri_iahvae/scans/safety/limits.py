"""Sizes that no scan exceeds: a file that declares more is damaged or hostile, and is refused unread."""

from math import prod
from pathlib import Path

from mri_iahvae.errors import unusable

MAX_SIDE = 4096
MAX_SLICES = 10_000
MAX_COILS = 256
MAX_BINS = 2**26
"""Of one slice, all coils together: half a GiB as complex64."""
MAX_VOXELS = 2**28
"""Of a volume of images that is read as a whole: a GiB as float32."""


def require_size(path: str | Path, shape: tuple[int, int, int, int], found: str) -> None:
    """Refuse k-space (slices, coils, height, width) that is empty or too large; `found` is how the file has it."""
    slices, coils, *sides = shape
    if not (0 < slices <= MAX_SLICES and 0 < coils <= MAX_COILS and all(0 < n <= MAX_SIDE for n in sides)):
        wanted = f"1 to {MAX_SLICES} slices of at most {MAX_COILS} coils and {MAX_SIDE}x{MAX_SIDE} bins"
        raise unusable(path, wanted, found, "check how the file was made")
    if coils * prod(sides) > MAX_BINS:
        wanted = f"at most {MAX_BINS} bins in the coils of a slice"
        raise unusable(path, wanted, found, "compress the coils first")
