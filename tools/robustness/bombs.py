"""Small files that claim to be huge: what reading them takes in time and memory.

    python -m tools.robustness.bombs --json bombs.json

Each is read by a process of its own, to the end or until it is refused. What a library would take if it were let is
not tried.
"""

import gzip
import json
import resource
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import click
import h5py
import nibabel
import numpy as np
from numpy.lib import format as npy_format

from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import write_json
from tools.robustness.subjects import HEADER, SUBJECTS

_MIB = 2**20


@dataclass(frozen=True)
class Bomb:
    """A file or folder, and how it is read.

    Attributes:
        subject: key of `SUBJECTS`.
        file: name of the input.
        build: writes it, given its path.
        claims: in words.
    """

    subject: str
    file: str
    build: Callable[[Path], None]
    claims: str


@dataclass(frozen=True)
class Measured:
    """What became of it: "read" or "refused", the message, seconds of CPU time, and MiB beyond those before."""

    outcome: str
    message: str
    seconds: float
    mib: float


def measure(bomb: Bomb, folder: Path) -> Measured:
    """Write a bomb and read it in a process of its own.

    Raises:
        BrokenProcessPool: the process crashed.
    """
    path = folder / bomb.file
    bomb.build(path)
    context = get_context("forkserver")
    context.set_forkserver_preload(["tools.robustness.subjects"])
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_read, bomb.subject, path).result()


def _read(subject: str, path: Path) -> Measured:
    before, start = _peak(), time.process_time()
    outcome, message = "read", ""
    try:
        SUBJECTS[subject].read(path)
    except IahvaeError as error:
        outcome, message = "refused", str(error)
    return Measured(outcome, message, time.process_time() - start, _peak() - before)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _declared(*shape: int, chunks: tuple[int, ...]) -> Callable[[Path], None]:
    """k-space without any data."""

    def build(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("kspace", shape, "c8", chunks=chunks, compression="gzip")

    return build


def _zeros(*shape: int, chunk: tuple[int, ...]) -> Callable[[Path], None]:
    """Chunks of zeros as gzip packs them, a thousand to one."""

    def build(path: Path) -> None:
        packed = zlib.compress(bytes(8 * int(np.prod(chunk))), 9)
        with h5py.File(path, "w") as file:
            stored = file.create_dataset("kspace", shape, "c8", chunks=chunk, compression="gzip")
            for index in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunk, strict=True))):
                stored.id.write_direct_chunk(tuple(i * c for i, c in zip(index, chunk, strict=True)), packed)

    return build


def _header(text: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["kspace"] = np.ones((2, 16, 16), np.complex64)
            file["ismrmrd_header"] = text

    return build


def _long_text(path: Path) -> None:
    """A header that says it has 2 GiB."""
    _header(HEADER)(path)
    with h5py.File(path) as file:
        start = file["ismrmrd_header"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 4] = struct.pack("<I", 2**31)
    path.write_bytes(content)


def _shared_lines(path: Path) -> None:
    """Acquisitions that all point at one block of data."""
    import ismrmrd  # noqa: PLC0415

    with ismrmrd.Dataset(str(path), mode="w") as file:
        file.write_xml_header(HEADER)
        for _ in range(4096):
            file.append_acquisition(ismrmrd.Acquisition.from_array(np.zeros((1, 16), np.complex64)))
        file.append_acquisition(ismrmrd.Acquisition.from_array(np.ones((64, 65535), np.complex64)))
    with h5py.File(path, "r+") as file:
        stored = file["dataset/data"]
        starts: list[tuple[int, int]] = []
        stored.id.chunk_iter(lambda chunk: starts.append((chunk.byte_offset, chunk.size)))
        kind = stored.id.get_type()
        part = kind.get_member_offset(kind.get_member_index(b"data"))
    size, content = kind.get_size(), bytearray(path.read_bytes())
    records = [start + i for start, length in starts for i in range(0, length, size)]
    whole = max((bytes(content[at + part : at + part + 16]) for at in records), key=lambda raw: raw[:4][::-1])
    for at in records:
        content[at + part : at + part + 16] = whole
    path.write_bytes(content)


def _attribute(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file["kspace"] = np.ones((2, 16, 16), np.complex64)
        file.attrs["acquisition"] = "x" * 2**24


def _archive(path: Path) -> None:
    """A member whose header claims 8 GiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2048, 1024, 1024)}
        npy_format.write_array_header_1_0(file, header)
        file.write(bytes(2**26))


def _volume(path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((2048, 2048, 4096))
    header.set_data_dtype(np.int8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 2**26), mtime=0))


def png(width: int, height: int, pixels: int) -> bytes:
    """A PNG that claims a size, and holds so many zeros."""

    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    size = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = part(b"IDAT", zlib.compress(bytes(pixels), 9))
    return b"\x89PNG\r\n\x1a\n" + size + data + part(b"IEND", b"")


def _picture(path: Path) -> None:
    path.mkdir()
    (path / "0.png").write_bytes(png(60_000, 60_000, 2**26))


def _wide_model(path: Path) -> None:
    """A configuration of 12 scales of 4096 channels and 64 layers beside weights of a tiny model."""
    SUBJECTS["checkpoint"].build(path.parent)
    config = path / "config.json"
    values = json.loads(config.read_text())
    values["model"]["scales"] = [{"layers": 64, "channels": 4096, "inner": 4096, "patch": 1}] * 12
    config.write_text(json.dumps(values))


def _nested_model(path: Path) -> None:
    SUBJECTS["checkpoint"].build(path.parent)
    (path / "config.json").write_text("[" * 10**6 + "]" * 10**6)


_LAUGHS = "<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)

BOMBS = {
    "empty": Bomb(
        "fastMRI", "a.h5", _declared(10_000, 4096, 4096, chunks=(1, 512, 512)), "1.2 TiB, nothing stored"
    ),
    "zeros": Bomb(
        "fastMRI", "a.h5", _zeros(2400, 1024, 1024, chunk=(1, 1024, 1024)), "18.8 GiB, gzip of zeros"
    ),
    "zeros, allowed": Bomb(
        "fastMRI", "a.h5", _zeros(128, 1024, 1024, chunk=(1, 1024, 1024)), "1 GiB, gzip of zeros"
    ),
    "large slices, allowed": Bomb(
        "fastMRI",
        "a.h5",
        _zeros(2, 4, 4096, 4096, chunk=(1, 1, 4096, 4096)),
        "4 coils of 4096x4096, gzip of zeros",
    ),
    "coils": Bomb(
        "fastMRI", "a.h5", _declared(1, 256, 1024, 512, chunks=(1, 1, 1024, 512)), "256 coils, 1 GiB a slice"
    ),
    "tiny chunks": Bomb(
        "fastMRI", "a.h5", _declared(64, 1024, 1024, chunks=(1, 1, 1)), "512 MiB in chunks of a bin"
    ),
    "tall chunks": Bomb(
        "fastMRI", "a.h5", _zeros(10_000, 64, 64, chunk=(10_000, 64, 8)), "chunks over 10000 slices"
    ),
    "long text": Bomb("fastMRI", "a.h5", _long_text, "a header of 2 GiB"),
    "billion laughs": Bomb("fastMRI", "a.h5", _header(_LAUGHS + "]><a>&j;</a>"), "10^9 times 'ha'"),
    "deep XML": Bomb("fastMRI", "a.h5", _header("<a>" * 149_000 + "</a>" * 149_000), "149000 levels"),
    "long XML": Bomb("fastMRI", "a.h5", _header(f"<a>{'x' * 2**24}</a>"), "16 MiB of text"),
    "attribute": Bomb("fastMRI", "a.h5", _attribute, "16 MiB in an attribute"),
    "shared lines": Bomb("ISMRMRD", "a.mrd", _shared_lines, "4097 times the same 32 MiB"),
    "archive": Bomb("npz", "a.npz", _archive, "8 GiB of images"),
    "volume": Bomb("NIfTI", "a.nii.gz", _volume, "16 GiB of voxels"),
    "picture": Bomb("pictures", "a", _picture, "60000x60000 pixels"),
    "wide model": Bomb("checkpoint", "model", _wide_model, "12 scales of 64 layers, 4096 channels"),
    "nested model": Bomb("checkpoint", "model", _nested_model, "10^6 levels of JSON"),
}


@click.command()
@click.option("--json", "output", type=click.Path(path_type=Path), help="What was measured goes here.")
def main(output: Path | None) -> None:
    """Print a table."""
    click.echo("| bomb | claims | file | outcome | CPU s | MiB |\n| --- | --- | --- | --- | --- | --- |")
    table = {}
    for name, bomb in BOMBS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(bomb, Path(folder))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        table[name] = {"bytes": size, **asdict(found)}
        taken = f"{found.seconds:.2f} | {found.mib:.0f}"
        click.echo(f"| {name} | {bomb.claims} | {size / _MIB:.2f} MiB | {found.outcome} | {taken} |")
    if output is not None:
        write_json(output, table)


if __name__ == "__main__":
    main()
