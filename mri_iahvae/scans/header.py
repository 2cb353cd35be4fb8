"""The ISMRMRD header of a fastMRI file: the few numbers that matter here, from XML that is not trusted."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from mri_iahvae.errors import ScanError

_MAX_CHARACTERS = 2**20
_MAX_SIDE = 2**16
_MAX_MM = 10_000.0
_MAX_WORD = 32
_ROUNDING = 0.02  # of fields of view, which some converters state in whole mm

FieldOfView = tuple[float | None, float | None, float | None]
"""In mm along x (readout, the rows), y (phase encoding, the columns) and z (through the slice or slab); None where
the header is silent."""


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
    encoded_fov: FieldOfView = (None, None, None)
    """Of the image of the whole k-space array, readout oversampling included."""
    recon_fov: FieldOfView = (None, None, None)
    """Of the cropped image."""
    thickness: float | None = None
    """Of one slice in mm, without the gap to the next one, which no header of this kind states."""
    slices: int | None = None
    """Number of slices; of a slab, of its partitions."""
    trajectory: str = ""
    """"cartesian", "radial" and so on; empty where the header is silent."""

    def require_cartesian(self, path: str | Path) -> None:
        """Refuse data that lie on no grid.

        Args:
            path: the file, for the message.

        Raises:
            ScanError: another trajectory is stated.
        """
        if self.trajectory not in {"", "cartesian"}:
            raise ScanError(
                f"{path}: expected a Cartesian trajectory, found '{self.trajectory}'; reconstruct it with BART "
                "(nufft, pics), SigPy or MRpro, and denoise the image as NIfTI"
            )

    @property
    def pixel(self) -> tuple[float, float] | None:
        """Height and width in mm of a pixel of the image of k-space, cropped or not; None where the header is silent.

        Both spaces give it, reconSpace without the rounding of an oversampled field of view. Unless a scanner
        interpolates: its reconSpace then has smaller pixels than k-space holds.
        """
        recon, encoded = _pixel(self.recon, self.recon_fov), _pixel(self.encoded, self.encoded_fov)
        if recon is None or encoded is None:
            return recon or encoded
        same = all(abs(r / e - 1) < _ROUNDING for r, e in zip(recon, encoded, strict=True))
        return recon if same else encoded


def parse_header(text: str) -> Header:
    """Read an `ismrmrd_header`.

    Args:
        text: XML. Matrix sizes are required, all else may be missing or out of range and then counts as not
            stated. Whole numbers may carry decimals ("640.0").

    Raises:
        HostileHeaderError: too long, or with a document type or entities.
        ValueError: not XML, sizes missing or absurd, or encoding limits that do not fit the sizes.
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
    return Header(
        encoded=encoded,
        recon=_size(root, "reconSpace"),
        padding=_padding(root, encoded[1]),
        encoded_fov=_fov(root, "encodedSpace"),
        recon_fov=_fov(root, "reconSpace"),
        thickness=_thickness(root),
        slices=_slices(root),
        trajectory=(root.findtext("{*}encoding/{*}trajectory") or "").strip().lower()[:_MAX_WORD],
    )


def _pixel(size: tuple[int, int], fov: FieldOfView) -> tuple[float, float] | None:
    return None if fov[0] is None or fov[1] is None else (fov[0] / size[0], fov[1] / size[1])


def _size(root: ET.Element, space: str) -> tuple[int, int]:
    path = f"{{*}}encoding/{{*}}{space}/{{*}}matrixSize/{{*}}"
    height, width = _integer(root, path + "x"), _integer(root, path + "y")
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ValueError(f"no usable {space} matrix size")
    return height, width


def _fov(root: ET.Element, space: str) -> FieldOfView:
    path = f"{{*}}encoding/{{*}}{space}/{{*}}fieldOfView_mm/{{*}}"
    return _millimetres(root, path + "x"), _millimetres(root, path + "y"), _millimetres(root, path + "z")


def _thickness(root: ET.Element) -> float | None:
    """A slab's field of view is shared by its partitions; a slice's is that of one partition."""
    for space in ("reconSpace", "encodedSpace"):
        depth, mm = _integer(root, f"{{*}}encoding/{{*}}{space}/{{*}}matrixSize/{{*}}z"), _fov(root, space)[2]
        if mm is not None:
            return mm / (depth or 1)
    return None


def _slices(root: ET.Element) -> int | None:
    """Slices times the partitions of each (1 unless it is a slab)."""
    last = _integer(root, "{*}encoding/{*}encodingLimits/{*}slice/{*}maximum")
    depth = _integer(root, "{*}encoding/{*}reconSpace/{*}matrixSize/{*}z") or 1
    if last is None:
        return depth if depth > 1 else None
    return (last + 1) * depth


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
    return int(text.partition(".")[0]) if re.fullmatch(r"\d{1,9}(\.0{0,9})?", text) else None


def _millimetres(root: ET.Element, path: str) -> float | None:
    text = (root.findtext(path) or "").strip()
    length = float(text) if re.fullmatch(r"\d{1,9}(\.\d{0,40})?([eE][+-]?\d{1,2})?", text) else 0.0
    return length if 0 < length <= _MAX_MM else None
