"""Ways to damage a file: bytes, numbers written as text, JSON values, and the objects of HDF5 files.

Each takes a random generator, so a case is known by its seed and number.
"""

import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Generator = np.random.Generator

_HEAD = 2048  # most formats describe themselves here
_LONGEST = 256  # bytes of a span
_MOST = 6  # changes of one file
_EDGES = (
    0, 1, 2, 127, 128, 255, 256, 4096, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_NUMBERS = (
    b"0", b"1", b"-1", b"1e999", b"nan", b"99999999999999999999", b"4096", b"2147483648", b"0.5",
    b"" + b"9" * 5000,
)  # fmt: skip
_WORDS = (
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<x>" * 200, b"</x>", b"]]>", b"\x00", b"\xff\xfe",
    b"{" * 3000, b"[" * 3000, b'"', b"'", b"\n",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 10**400, 1e308, float("nan"), "", "x" * 10_000, [], {}, [[]],
)  # fmt: skip
_DEPTH = 5000
_FIELDS = ("kspace", "mask", "noise_sigma", "ismrmrd_header", "reconstruction_esc", "reconstruction_rss")


def damage(content: bytes, rng: Generator) -> bytes:
    """A few changes of bytes, anywhere or in the head."""
    for _ in range(int(rng.integers(1, _MOST))):
        change = _pick(_BYTE_CHANGES, rng)
        content = change(content, rng)
    return content


def damage_gzip(content: bytes, rng: Generator) -> bytes:
    """Damage of what is compressed; the checksum is that of the damaged content."""
    return gzip.compress(damage(gzip.decompress(content), rng), mtime=0)


def damage_zip(content: bytes, rng: Generator) -> bytes:
    """Damage of one member, or of its name."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        names = archive.namelist()
        chosen = _pick(names, rng)
        for name in names:
            member = archive.read(name)
            new.writestr(name, damage(member, rng) if name == chosen else member)
    return out.getvalue()


def damage_json(content: bytes, rng: Generator) -> bytes:
    """Other values, keys left out or added, and nesting that no parser follows."""
    root = {"": json.loads(content)}
    for _ in range(int(rng.integers(1, _MOST))):
        holder, key = _place(root, rng)
        kind = int(rng.integers(5))
        if kind == 0 and key != "":
            del holder[key]
        elif kind == 1 and isinstance(holder[key], dict):
            holder[key][str(rng.integers(100))] = 1
        elif kind == 2 and isinstance(holder[key], list):
            holder[key] = deepcopy(holder[key]) * int(rng.integers(2, 50))
        else:
            holder[key] = deepcopy(_pick(_VALUES, rng))
        if "" not in root:
            break
    text = json.dumps(root[""])
    if rng.random() < 0.05:
        text = text.replace("1", "[" * _DEPTH + "]" * _DEPTH, 1)
    return text.encode()


def state_hash(folder: Path) -> None:
    """Let the configuration of a checkpoint state the hash of its weights, so that what lies behind is reached."""
    config, weights = folder / "config.json", folder / "model.safetensors"
    try:
        values = json.loads(config.read_text())
        values["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        config.write_text(json.dumps(values))
    except (OSError, ValueError, TypeError, RecursionError):
        return  # nothing is left that could state it


def damage_hdf5(path: Path, rng: Generator, outside: Path) -> None:
    """Replace objects and attributes of a whole HDF5 file, by links to and data in the file `outside` among others."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.integers(1, 4))):
            groups = [name for name in file if _kind(file, name) is h5py.Group]
            holder = file[groups[0]] if groups and rng.random() < 0.7 else file
            names = [*holder, *((*_FIELDS, "dataset") if holder is file else ())]
            if rng.random() < 0.3 or not names:
                _replace_attribute(file, rng)
                continue
            name = _pick(names, rng)
            if name in list(holder):
                del holder[name]
            _pick(_OBJECTS, rng)(holder, name, rng, outside)


def _kind(file: h5py.File, name: str) -> type | None:
    """Group or dataset, where no link leads to it."""
    kind = file.id.links.get_info(name.encode()).type
    return type(file[name]) if kind == h5py.h5l.TYPE_HARD else None


def _pick(values: Sequence[Any], rng: Generator) -> Any:  # noqa: ANN401
    return values[int(rng.integers(len(values)))]


def _span(size: int, rng: Generator) -> tuple[int, int]:
    reach = min(size, _HEAD) if rng.random() < 0.5 else size
    start = int(rng.integers(reach + 1))
    return start, min(size, start + int(rng.integers(1, _LONGEST)))


def _flip(content: bytes, rng: Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 8)) if content else 0):
        changed[min(_span(len(content), rng)[0], len(content) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _edge(content: bytes, rng: Generator) -> bytes:
    """A number at the edge of what its bytes can hold."""
    start, _ = _span(len(content), rng)
    size = int(2 ** rng.integers(4))
    value = _pick(_EDGES, rng) % 256**size
    return (
        content[:start]
        + value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
        + content[start + size :]
    )


def _drop(content: bytes, rng: Generator) -> bytes:
    start, end = _span(len(content), rng)
    return content[:start] + content[end:]


def _double(content: bytes, rng: Generator) -> bytes:
    start, end = _span(len(content), rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 4)) + content[end:]


def _noise(content: bytes, rng: Generator) -> bytes:
    start, end = _span(len(content), rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _zero(content: bytes, rng: Generator) -> bytes:
    start, end = _span(len(content), rng)
    return content[:start] + bytes(end - start) + content[end:]


def _cut(content: bytes, rng: Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _exchange(content: bytes, rng: Generator) -> bytes:
    (a, b), (c, d) = sorted((_span(len(content), rng), _span(len(content), rng)))
    if c < b:
        return content
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _number(content: bytes, rng: Generator) -> bytes:
    """Another number where one stands as text."""
    found = list(re.finditer(rb"\d+", content[: 2 * _HEAD]))
    if not found:
        return content
    match = _pick(found, rng)
    return content[: match.start()] + _pick(_NUMBERS, rng) + content[match.end() :]


def _word(content: bytes, rng: Generator) -> bytes:
    start, _ = _span(len(content), rng)
    return content[:start] + _pick(_WORDS, rng) + content[start:]


_BYTE_CHANGES: tuple[Callable[[bytes, Generator], bytes], ...] = (
    _flip, _flip, _edge, _edge, _drop, _double, _noise, _zero, _cut, _exchange, _number, _word,
)  # fmt: skip


def _place(root: dict[str, Any], rng: Generator) -> tuple[Any, Any]:
    """A random holder of a value, and the key or index of the value in it."""
    holder: Any = root
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = _pick(keys, rng)
    return holder, key


def _replace_attribute(file: h5py.File, rng: Generator) -> None:
    name = _pick(("noise_sigma", "acquisition", "max", "patient_id", "acceleration"), rng)
    values = (
        "x" * 60_000,
        b"\xff\xfe",
        np.arange(1000),
        h5py.Empty("f4"),
        np.float64("nan"),
        np.complex64(1j),
        np.zeros(3, [("a", "i4"), ("b", "S9")]),
        file.ref,
        np.array(["a", "b"], h5py.string_dtype()),
        np.void(b"opaque"),
        np.uint64(2**64 - 1),
        True,
    )
    file.attrs[name] = _pick(values, rng)


def _array(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    """Another shape and type."""
    types = (
    "c8", "c16", "f4", "i8", "S3", "?", [("r", "f4"), ("i", "f4")], [("r", "S4"), ("i", "i4")], "f2",
    ">c8",
)  # fmt: skip
    shape = tuple(int(n) for n in rng.choice([0, 1, 2, 3, 16, 17, 40], int(rng.integers(6))))
    holder.create_dataset(name, shape, _pick(types, rng))


def _declared(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    """Far more than the file holds."""
    sides = [1, 2, 4096, 4097, 10_000, 2**20, 2**40]
    shape = tuple(int(n) for n in rng.choice(sides, int(rng.integers(1, 5))))
    if np.prod([float(n) for n in shape]) < 2.0**60:
        chunks = tuple(min(n, int(rng.choice([1, 64, 4096]))) for n in shape)
        holder.create_dataset(
            name, shape, "c8" if rng.random() < 0.7 else "f4", chunks=chunks, compression="gzip"
        )


def _text(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    texts = ("<a/>", "<!DOCTYPE a>", "<a>" * 5000, "\x01", "&#0;", "<a b='" + "c" * 100_000 + "'/>", "é", "")
    holder[name] = _pick(texts, rng)


def _odd(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    """Types that are no numbers."""
    values = (
        h5py.Empty("c8"),
        np.array([holder.ref], h5py.ref_dtype),
        np.dtype("i4"),
        np.void(b"opaque bytes"),
        np.zeros((2, 3), h5py.enum_dtype({"a": 1})),
        np.zeros((2, 8, 8), np.dtype(("f4", (2,)))),
    )
    holder[name] = _pick(values, rng)


def _lengths(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    """Rows of variable length."""
    rows = holder.create_dataset(name, (2, 8, 8), h5py.vlen_dtype(np.float32))
    rows[0, 0, 0] = np.ones(5, np.float32)


def _group(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    holder.create_group(name)


def _soft(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    holder[name] = h5py.SoftLink(("/", f"/{name}", "/kspace", "/nothing")[int(rng.integers(4))])


def _external_link(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:
    holder[name] = h5py.ExternalLink(str(outside), ("/", "/kspace")[int(rng.integers(2))])


def _external_data(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    holder.create_dataset(name, (2, 16, 16), "c8", external=[(str(outside), 0, h5py.h5f.UNLIMITED)])


def _virtual(holder: h5py.Group, name: str, rng: Generator, outside: Path) -> None:  # noqa: ARG001
    layout = h5py.VirtualLayout((2, 16, 16), "c8")
    layout[:] = h5py.VirtualSource(str(outside), "kspace", (2, 16, 16))
    holder.create_virtual_dataset(name, layout)


_OBJECTS = (
    _array, _declared, _text, _odd, _lengths, _group, _soft, _external_link, _external_data, _virtual,
)  # fmt: skip
