"""The ISMRMRD header of a fastMRI file: the few numbers that matter here, from XML that is not trusted."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

_MAX_CHARACTERS = 2**20
_MAX_SIDE = 2**16


class HostileHeaderError(ValueError):
    """XML that is refused unparsed."""


@dataclass(frozen=True)
class Header:
    """What the header says; sizes are (height, width), that is (readout, phase encoding), in bins."""

    encoded: tuple[int, int]
    """Size of the k-space array."""
    recon: tuple[int, int]
    """Size that the image is cropped to."""
    padding: tuple[int, int] | None
    """First acquired column, and the first one after the last acquired; None where the header is silent."""


def parse_header(text: str) -> Header:
    """Read an `ismrmrd_header`.

    Raises:
        HostileHeaderError: too long, or with a document type or entities.
        ValueError: not XML, or sizes missing or absurd.
    """
    if len(text) > _MAX_CHARACTERS:
        raise HostileHeaderError(f"{len(text)} characters of XML")
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise HostileHeaderError("XML with a document type or entities")
    try:
        root = ET.fromstring(text)  # noqa: S314 - document types and entities are refused above
    except ET.ParseError as error:
        raise ValueError(f"XML that cannot be parsed ({error})") from error
    encoded = _size(root, "encodedSpace")
    return Header(encoded, _size(root, "reconSpace"), _padding(root, encoded[1]))


def _size(root: ET.Element, space: str) -> tuple[int, int]:
    path = f"{{*}}encoding/{{*}}{space}/{{*}}matrixSize/{{*}}"
    height, width = _integer(root, path + "x"), _integer(root, path + "y")
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ValueError(f"no usable {space} matrix size")
    return height, width


def _padding(root: ET.Element, width: int) -> tuple[int, int] | None:
    path = "{*}encoding/{*}encodingLimits/{*}kspace_encoding_step_1/{*}"
    center, maximum = _integer(root, path + "center"), _integer(root, path + "maximum")
    if center is None or maximum is None:
        return None
    # As the reference code of fastMRI derives it.
    left = width // 2 - center
    right = left + maximum + 1
    if not 0 <= left < right <= width:
        raise ValueError(f"encoding limits that do not fit {width} columns")
    return left, right


def _integer(root: ET.Element, path: str) -> int | None:
    text = (root.findtext(path) or "").strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None
