"""The scales of a grid. Without torch, for the command line."""

import re

from mri_iahvae.errors import UsageError


def scales(size: int) -> tuple[int, ...]:
    """The scales 1, 2, 4 ... `size` of an N x N grid.

    Raises:
        ValueError: `size` is not a power of two.
    """
    if size < 1 or size & (size - 1):
        raise ValueError(f"the grid must be a power of two, got {size}")
    return tuple(2**k for k in range(size.bit_length()))


def parse_scale(text: str | int, size: int) -> int:
    """Read an `--up-to` value such as "8x8", or "8", which means the same.

    Raises:
        UsageError: not of the form SxS, S not a power of two, or S larger than the grid.
    """
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(text).strip().lower())
    if match is None or match[2] not in (None, match[1]) or int(match[1]) not in scales(size):
        choices = ", ".join(f"{s}x{s}" for s in scales(size))
        raise UsageError(f"--up-to {text}: expected one of {choices} on this model's {size}x{size} grid")
    return int(match[1])
