"""The ISMRMRD header of a file: the few numbers that matter here, from XML that is not trusted."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mri_iahvae.errors import unusable

_MAX_CHARACTERS = 2**20
_MAX_SIDE = 2**16
_MAX_MM = 10_000.0
_MAX_WORD = 32
_ROUNDING = 0.01  # of fields of view, which some converters state in whole mm
_NOT_XML = re.compile(r"[^\t\n\r -\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")

FieldOfView = tuple[float | None, float | None, float | None]
"""In mm along x (readout, the rows), y (phase encoding, the columns) and z (through the slice or slab); None where
the header does not say."""


class HostileHeaderError(ValueError):
    """XML that is refused unparsed."""


@dataclass(frozen=True)
class Header:
    """What the header says of one encoding; sizes are (height, width), that is (readout, phase encoding), in bins."""

    encoded: tuple[int, int]
    """Size of the k-space array."""
    recon: tuple[int, int]
    """Size of the scanner's image, which may be interpolated."""
    padding: tuple[int, int] | None
    """First acquired column, and the first one after the last acquired; None where the header does not say."""
    first_line: int = 0
    """Number of the line in the first acquired column."""
    encoded_fov: FieldOfView = (None, None, None)
    """Of the image of the whole k-space array, oversampling included."""
    recon_fov: FieldOfView = (None, None, None)
    """Of the scanner's image."""
    thickness: float | None = None
    """Of one slice in mm, without the gap to the next one, which no header of this kind states."""
    trajectory: str = ""
    """"cartesian", "radial" and so on; empty where the header does not say."""
    calibration: str = ""
    """calibrationMode of parallel imaging: "embedded", "separate" and so on; empty where the header does not say."""
    slices: int | None = None
    """Number of slices by their limits; None where the header does not say."""
    multiband: int = 1
    """Slices excited together."""
    warnings: tuple[str, ...] = ()
    """One sentence for each field that is there and cannot be used: it counts as not stated."""

    def require_cartesian(self, path: str | Path) -> None:
        """Refuse data of the file `path` that lie on no grid."""
        if self.trajectory not in {"", "cartesian"}:
            advice = "reconstruct it with BART (nufft, pics), SigPy or MRpro, and denoise the image as NIfTI"
            raise unusable(path, "a Cartesian trajectory", f"'{self.trajectory}'", advice)

    @property
    def image(self) -> tuple[int, int]:
        """Size of the image of reconSpace's field of view in the pixels of k-space, cut alike on either side.

        Lengths decide, as a scanner interpolates its image and oversamples either direction. Where they are not
        stated matrices are compared.
        """
        rows, columns = (
            min(recon, n) if mm is None or whole is None else n - 2 * max(0, round(n * (1 - mm / whole) / 2))
            for n, recon, whole, mm in self._axes
        )
        return max(1, rows), max(1, columns)

    @property
    def pixel(self) -> tuple[float, float] | None:
        """Height and width in mm of a pixel of the image of k-space, cropped or not; None where it is not stated.

        Both spaces give it, reconSpace without the rounding of an oversampled field of view; but where a scanner
        interpolates, reconSpace has other pixels than k-space.
        """
        height, width = (_pixel(*axis) for axis in self._axes)
        return None if height is None or width is None else (height, width)

    @property
    def voxel(self) -> tuple[float | None, float, float] | None:
        """Thickness, height and width in mm, as `Scan.voxel` has them."""
        return None if self.pixel is None else (self.thickness, *self.pixel)

    @property
    def _axes(self) -> Iterator[tuple[int, int, float | None, float | None]]:
        """Sizes of k-space and of the scanner's image, and their lengths in mm, along rows and columns."""
        return zip(self.encoded, self.recon, self.encoded_fov[:2], self.recon_fov[:2], strict=True)


def parse_header(text: str, number: int = 0, size: tuple[int, int] | None = None) -> Header:
    """Read an `ismrmrd_header`.

    The matrix of encodedSpace is required, all else may be missing; a field that cannot be used is a warning. Whole
    numbers may carry decimals ("640.0").

    Args:
        text: XML. What is wrong outside the encodings is ignored. Only ASCII counts, so it may have been decoded
            wrongly.
        number: which of the encodings, in the order of the document.
        size: of k-space, where no number is known: the first encoding of this size counts, or the first of all.

    Raises:
        HostileHeaderError: too long, or with a document type or entities.
        ValueError: no such encoding, one that is not XML, or no usable matrix of encodedSpace.
    """
    if len(text) > _MAX_CHARACTERS:
        raise HostileHeaderError(f"{len(text)} characters of XML")
    text = _NOT_XML.sub("", text)
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise HostileHeaderError("XML with a document type or entities")
    try:
        # S314: document types and entities are refused above.
        encodings = [_Encoding(ET.fromstring(found)) for found in _encodings(text)]  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(f"XML that cannot be parsed ({error})") from error
    if number >= len(encodings):
        raise ValueError(f"no encoding number {number} among {len(encodings)}")
    fitting = (encoding for encoding in encodings if size and encoding.matrix("encodedSpace")[0] == size)
    return next(fitting, encodings[number]).header()


def number_above_zero(text: str) -> float:
    """A number in decimal notation; 0 for any other text."""
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{0,40})?([eE][+-]?\d{1,2})?", text) else 0.0


def without_comments(text: str) -> str:
    """XML less its comments, in time linear in the text."""
    before, *behind = text.split("<!--")
    return before + "".join(part.partition("-->")[2] for part in behind)


def _encodings(text: str) -> list[str]:
    """The elements `encoding`, cut out: names of hospitals and protocols, the usual place of bad XML, stand outside.

    In time linear in the text, whatever it holds.
    """
    text = without_comments(text)
    # Prefixes are bound outside, and no field that matters holds a reference.
    text = re.sub(r"(</?)[\w.-]+:", r"\1", text).replace("&", " ")
    parts = (
        re.split(r"</encoding\s*>", part, maxsplit=1) for part in re.split(r"<encoding(?=[\s>])", text)[1:]
    )
    return [f"<encoding{inside}</encoding>" for inside, *_ in parts]


class _Encoding:
    """Reads the fields of one encoding, in any namespace, and takes down those that cannot be used."""

    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._warnings: list[str] = []

    def header(self) -> Header:
        """All of them."""
        self._warnings.clear()
        encoded, encoded_depth = self.matrix("encodedSpace")
        if encoded is None:
            raise ValueError("no usable encodedSpace matrix size")
        recon, recon_depth = self.matrix("reconSpace")
        encoded_fov, recon_fov = self._fov("encodedSpace"), self._fov("reconSpace")
        # A slab's field of view is shared by its partitions; a slice's is that of one partition.
        depths = (recon_fov[2], recon_depth), (encoded_fov[2], encoded_depth)
        padding, first_line = self._limits(encoded[1])
        first, last = (self._integer(f"encodingLimits/slice/{name}") for name in ("minimum", "maximum"))
        return Header(
            encoded=encoded,
            recon=recon or encoded,
            padding=padding,
            first_line=first_line,
            encoded_fov=encoded_fov,
            recon_fov=recon_fov,
            thickness=next((mm / (partitions or 1) for mm, partitions in depths if mm), None),
            trajectory=self._word("trajectory"),
            calibration=self._word("parallelImaging/calibrationMode"),
            slices=last + 1 - (first or 0) if last else None,  # zero where a converter knows nothing
            multiband=self._integer("parallelImaging/multiband/multiband_factor") or 1,
            warnings=tuple(self._warnings),
        )

    def matrix(self, space: str) -> tuple[tuple[int, int] | None, int | None]:
        """(height, width) of a space, and its number of partitions."""
        height, width, depth = (self._integer(f"{space}/matrixSize/{axis}") for axis in "xyz")
        if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
            self._warnings.append(f"no usable {space} matrix size")
            return None, depth
        return (height, width), depth

    def _fov(self, space: str) -> FieldOfView:
        x, y, z = (self._millimetres(f"{space}/fieldOfView_mm/{axis}") for axis in "xyz")
        return x, y, z

    def _limits(self, width: int) -> tuple[tuple[int, int] | None, int]:
        """Padding, and the number of the first line. Lines may be counted from 0 or 1."""
        path = "encodingLimits/kspace_encoding_step_1"
        first, last, centre = (self._integer(f"{path}/{name}") for name in ("minimum", "maximum", "center"))
        first = first or 0
        if last is None or last == first or (centre is None and last + 1 - first != width):
            return None, 0  # all zero where a converter knows nothing
        # With the first line 0 as the reference code of fastMRI derives it.
        left = 0 if centre is None else width // 2 - centre + first
        right = left + last + 1 - first
        if 0 <= left < right <= width:
            return (left, right), first
        limits = f"encoding limits {first} to {last} with centre {centre} do not fit {width} columns"
        if right - left == width:
            self._warnings.append(f"{limits} but fill them: the centre is left out")
            return (0, width), first
        self._warnings.append(f"{limits}: left out")
        return None, 0

    def _word(self, path: str) -> str:
        return self._text(path).lower()[:_MAX_WORD]

    def _integer(self, path: str) -> int | None:
        text = self._text(path)
        if re.fullmatch(r"\d{1,9}(\.0{0,9})?", text):
            return int(text.partition(".")[0])
        self._note_unusable(path, text)
        return None

    def _millimetres(self, path: str) -> float | None:
        text = self._text(path)
        length = number_above_zero(text)
        if 0 < length <= _MAX_MM:
            return length
        self._note_unusable(path, text)
        return None

    def _text(self, path: str) -> str:
        return (self._root.findtext("/".join(f"{{*}}{name}" for name in path.split("/"))) or "").strip()

    def _note_unusable(self, path: str, text: str) -> None:
        if text:
            self._warnings.append(f"{path} is {text[:_MAX_WORD]!r}: left out")


def _pixel(n: int, recon: int, whole: float | None, mm: float | None) -> float | None:
    """Length of a pixel of k-space's image, of n bins and the length `whole`; see `Header.pixel`."""
    if whole is None:
        return None if mm is None or recon > n else mm / recon
    return mm / recon if mm and abs(mm / recon * n / whole - 1) < _ROUNDING else whole / n
