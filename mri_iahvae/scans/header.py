"""The ISMRMRD header of a file: the few numbers that matter here, from XML that is not trusted."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from mri_iahvae.errors import unusable

_MAX_CHARACTERS = 2**20
_MAX_SIDE = 2**16
_MAX_MM = 10_000.0
_MAX_WORD = 32
_ROUNDING = 0.02  # of fields of view, which some converters state in whole mm

FieldOfView = tuple[float | None, float | None, float | None]
"""In mm along x (readout, the rows), y (phase encoding, the columns) and z (through the slice or slab); None where
the header does not say."""


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
    """First acquired column, and the first one after the last acquired; None where the header does not say."""
    encoded_fov: FieldOfView = (None, None, None)
    """Of the image of the whole k-space array, readout oversampling included."""
    recon_fov: FieldOfView = (None, None, None)
    """Of the cropped image."""
    thickness: float | None = None
    """Of one slice in mm, without the gap to the next one, which no header of this kind states."""
    trajectory: str = ""
    """"cartesian", "radial" and so on; empty where the header does not say."""

    def require_cartesian(self, path: str | Path) -> None:
        """Refuse data of the file `path` that lie on no grid."""
        if self.trajectory not in {"", "cartesian"}:
            advice = "reconstruct it with BART (nufft, pics), SigPy or MRpro, and denoise the image as NIfTI"
            raise unusable(path, "a Cartesian trajectory", f"'{self.trajectory}'", advice)

    @property
    def pixel(self) -> tuple[float, float] | None:
        """Height and width in mm of a pixel of the image of k-space, cropped or not; None where it is not stated.

        Both spaces give it, reconSpace without the rounding of an oversampled field of view; but where a scanner
        interpolates, reconSpace has smaller pixels than k-space holds.
        """
        recon, encoded = _pixel(self.recon, self.recon_fov), _pixel(self.encoded, self.encoded_fov)
        if recon is None or encoded is None:
            return recon or encoded
        same = all(abs(r / e - 1) < _ROUNDING for r, e in zip(recon, encoded, strict=True))
        return recon if same else encoded


def parse_header(text: str) -> Header:
    """Read an `ismrmrd_header`.

    Matrix sizes are required, all else may be missing or out of range and then counts as not stated. Whole numbers
    may carry decimals ("640.0").

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
    encoded, encoded_fov, encoded_depth = _space(root, "encodedSpace")
    recon, recon_fov, recon_depth = _space(root, "reconSpace")
    # A slab's field of view is shared by its partitions; a slice's is that of one partition.
    depths = (recon_fov[2], recon_depth), (encoded_fov[2], encoded_depth)
    return Header(
        encoded=encoded,
        recon=recon,
        padding=_padding(root, encoded[1]),
        encoded_fov=encoded_fov,
        recon_fov=recon_fov,
        thickness=next((mm / (partitions or 1) for mm, partitions in depths if mm), None),
        trajectory=_text(root, "trajectory").lower()[:_MAX_WORD],
    )


def _pixel(size: tuple[int, int], fov: FieldOfView) -> tuple[float, float] | None:
    return None if fov[0] is None or fov[1] is None else (fov[0] / size[0], fov[1] / size[1])


def _space(root: ET.Element, name: str) -> tuple[tuple[int, int], FieldOfView, int | None]:
    """Matrix size, field of view, and number of partitions."""
    height, width, depth = (_integer(root, f"{name}/matrixSize/{axis}") for axis in "xyz")
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ValueError(f"no usable {name} matrix size")
    x, y, z = (_millimetres(root, f"{name}/fieldOfView_mm/{axis}") for axis in "xyz")
    return (height, width), (x, y, z), depth


def _padding(root: ET.Element, width: int) -> tuple[int, int] | None:
    path = "encodingLimits/kspace_encoding_step_1"
    center, maximum = _integer(root, f"{path}/center"), _integer(root, f"{path}/maximum")
    if center is None or maximum is None:
        return None
    # As the reference code of fastMRI derives it.
    left = width // 2 - center
    right = left + maximum + 1
    if not 0 <= left < right <= width:
        raise ValueError(f"encoding limits that do not fit {width} columns")
    return left, right


def _text(root: ET.Element, path: str) -> str:
    """Text within the first encoding, in any namespace."""
    return (root.findtext("/".join(f"{{*}}{name}" for name in ("encoding", *path.split("/")))) or "").strip()


def _integer(root: ET.Element, path: str) -> int | None:
    text = _text(root, path)
    return int(text.partition(".")[0]) if re.fullmatch(r"\d{1,9}(\.0{0,9})?", text) else None


def _millimetres(root: ET.Element, path: str) -> float | None:
    text = _text(root, path)
    length = float(text) if re.fullmatch(r"\d{1,9}(\.\d{0,40})?([eE][+-]?\d{1,2})?", text) else 0.0
    return length if 0 < length <= _MAX_MM else None
