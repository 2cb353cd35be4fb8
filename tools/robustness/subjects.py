"""What is fuzzed: small whole files of every kind that the tool reads, and how it reads them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mri_iahvae.errors import ScanError
from mri_iahvae.model.checkpoint import load_domain, load_model, save_model
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.scans.formats.fastmri_images import read_reconstruction, read_target
from mri_iahvae.scans.formats.magnitude_images import read_magnitudes
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.header import parse_header
from mri_iahvae.scans.mask_file import read_mask_file
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.inspect import inspect
from mri_iahvae.training.states import SafeStates
from tools.robustness.mutations import (
    Generator,
    damage,
    damage_gzip,
    damage_hdf5,
    damage_json,
    damage_zip,
    state_hash,
)

SIDE = 16
HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
<fieldOfView_mm><x>48</x><y>54</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
<fieldOfView_mm><x>48</x><y>54</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>15</maximum><center>8</center>
</kspace_encoding_step_1><slice><maximum>1</maximum></slice></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


@dataclass(frozen=True)
class Subject:
    """One kind of input.

    Attributes:
        build: writes whole files and folders into a folder; those with one name up to the first dot make one input.
        read: reads an input to the end, as the tool does, given the path of its first file.
        deeper: per suffix, ways to damage what a checksum or a format would else protect.
    """

    build: Callable[[Path], None]
    read: Callable[[Path], object]
    deeper: dict[str, Callable[[bytes, Generator], bytes]] = field(default_factory=dict)


def mutate(folder: Path, rng: Generator, outside: Path, subject: Subject) -> None:
    """Damage one or more of the files in a folder; `outside` is a file that hostile ones point at."""
    files = sorted(folder.rglob("*.*"))
    for path in files if rng.random() < 0.2 else [files[int(rng.integers(len(files)))]]:
        deeper = next((subject.deeper[s] for s in subject.deeper if path.name.endswith(s)), None)
        if path.suffix in {".h5", ".mrd"} and rng.random() < 0.4:
            damage_hdf5(path, rng, outside)
            if rng.random() < 0.7:
                continue
        change = deeper if deeper and rng.random() < 0.7 else damage
        path.write_bytes(change(path.read_bytes(), rng))
    for config in folder.rglob("config.json"):
        if rng.random() < 0.7:
            state_hash(config.parent)


def _numbers(*shape: int) -> NDArray[np.complex64]:
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def _fastmri(folder: Path) -> None:
    for name, libver, options in (
        ("old", "earliest", {}),
        ("chunks", "earliest", {"chunks": (1, 8, 16), "compression": "gzip"}),
        ("new", "latest", {"chunks": (1, 16, 16), "compression": "lzf", "shuffle": True}),
    ):
        with h5py.File(folder / f"{name}.h5", "w", libver=libver) as file:
            file.create_dataset("kspace", data=_numbers(2, SIDE, SIDE), **options)
            file["mask"] = np.arange(SIDE) % 2 == 0
            file["reconstruction_esc"] = np.abs(_numbers(2, SIDE, SIDE))
            file["ismrmrd_header"] = HEADER
            file.attrs.update(
                {"acquisition": "AXT1", "patient_id": "x", "max": 1.0, "noise_sigma": [0.1, 0.2]}
            )
    with h5py.File(folder / "coils.h5", "w") as file:
        file["kspace"] = _numbers(2, 3, SIDE, SIDE)
        file["reconstruction_rss"] = np.abs(_numbers(2, SIDE, SIDE))
        file["noise_sigma"] = 0.5
    with h5py.File(folder / "zeros.h5", "w") as file:
        file.create_dataset(
            "kspace", data=np.where(np.arange(SIDE) % 3, 0, _numbers(2, SIDE, SIDE)), fletcher32=True
        )


def _images(folder: Path) -> None:
    for name in ("esc", "result"):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["reconstruction_esc" if name == "esc" else "reconstruction"] = np.abs(
                _numbers(2, SIDE, SIDE)
            )
            file.attrs["acquisition"] = "AXT1"


def _mrd(folder: Path) -> None:
    lines = _numbers(2, 2, SIDE, SIDE)
    with ismrmrd.Dataset(str(folder / "raw.mrd"), mode="w") as file:
        file.write_xml_header(HEADER)
        noise = ismrmrd.Acquisition.from_array(_numbers(2, 64), sample_time_us=5)
        noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        file.append_acquisition(noise)
        for number in range(2):
            for column in range(SIDE):
                line = np.ascontiguousarray(lines[number, :, :, column])
                one = ismrmrd.Acquisition.from_array(line, center_sample=SIDE // 2, sample_time_us=5)
                one.idx.slice, one.idx.kspace_encode_step_1 = number, column
                file.append_acquisition(one)


def _bart(folder: Path) -> None:
    dims = (SIDE, SIDE, 2, 3)
    (folder / "scan.hdr").write_text("# Dimensions\n" + " ".join(map(str, (*dims, *[1] * 12))) + " \n")
    (folder / "scan.cfl").write_bytes(_numbers(*dims).tobytes(order="F"))


def _npy(folder: Path) -> None:
    np.save(folder / "c.npy", _numbers(2, SIDE, SIDE))
    np.save(folder / "fortran.npy", np.asfortranarray(_numbers(2, 2, SIDE, SIDE).astype(">c16")))


def _nifti(folder: Path) -> None:
    voxels = np.abs(_numbers(SIDE, SIDE, 3))
    for name, kind in (("one.nii", nibabel.Nifti1Image), ("two.nii.gz", nibabel.Nifti2Image)):
        image = kind(voxels, np.diag([1.0, 1, 2, 1]))
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"hello"))
        nibabel.save(image, folder / name)
    nibabel.save(nibabel.Nifti1Image((voxels * 100).astype(np.int16), np.eye(4)), folder / "three.nii.gz")


def _pictures(folder: Path) -> None:
    for name in ("png", "jpg"):
        (folder / name).mkdir()
        for number in range(2):
            grey = (40 * np.abs(_numbers(SIDE, SIDE))).astype(np.uint8)
            Image.fromarray(grey).save(folder / name / f"{number}.{name}")
    deep = Image.fromarray((9000 * np.abs(_numbers(SIDE, SIDE))).astype(np.uint16))
    (folder / "deep").mkdir()
    deep.save(folder / "deep" / "0.png")


def _archives(folder: Path) -> None:
    images = np.abs(_numbers(3, SIDE, SIDE))
    np.savez_compressed(folder / "slices.npz", images=images, subject=np.array(["a", "a", "b"]))


def _masks(folder: Path) -> None:
    columns, bins = np.arange(SIDE) % 2 == 0, np.abs(_numbers(SIDE, SIDE)) > 1
    np.save(folder / "columns.npy", columns)
    np.save(folder / "bins.npy", bins.astype(np.float32))
    np.savez_compressed(folder / "packed.npz", mask=bins, other=columns)
    np.savez(folder / "plain.npz", columns)
    for name, libver in (("old", "earliest"), ("new", "latest")):
        with h5py.File(folder / f"{name}.h5", "w", libver=libver) as file:
            file.create_dataset("mask", data=bins, chunks=(4, 16), compression="gzip")


def _headers(folder: Path) -> None:
    (folder / "header.xml").write_text(HEADER)


def _model() -> IAHVAE:
    torch.manual_seed(0)
    return IAHVAE(ModelConfig((ScaleConfig(1, 4, 2),) * 5, encoder_blocks=1, head_blocks=1, gains=(1.0,) * 5))


def _checkpoint(folder: Path) -> None:
    domain = Domain("head", 9, (-1.0, -2.0, -3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    save_model(_model(), folder / "model", {"steps": 3}, domain=domain)


def _state(folder: Path) -> None:
    model = _model()
    optimizer = {"state": {0: {"step": torch.tensor(2.0)}}, "betas": (0.9, 0.999)}
    state = {
        "state_dict": model.state_dict(),
        "optimizer": [optimizer],
        "epoch": 0,
        "rate": 1e-3,
        "name": "x",
    }
    SafeStates().save_checkpoint(state, folder / "run.state.safetensors")


def _read_scan(path: Path) -> None:
    scan = open_scan(path)
    scan_geometry(scan)
    for number in range(scan.slices):
        scan.read_coils(number)
        if scan.reference is not None:
            scan.read_reference(number)


def _read_images(path: Path) -> None:
    read_target(path) if path.stem == "esc" else read_reconstruction(path)


def _read_header(path: Path) -> None:
    try:
        parse_header(path.read_text("utf-8", "replace"))
    except ValueError as error:  # its caller makes one line of it
        raise ScanError(str(error)) from error


def _read_nifti(path: Path) -> None:
    list(read_magnitudes(path))
    _read_scan(path)


def _read_checkpoint(path: Path) -> None:
    load_domain(path)
    load_model(path)


def _inspect(path: Path) -> None:
    json.dumps(inspect(path).to_json())


SUBJECTS = {
    "fastMRI": Subject(_fastmri, _read_scan),
    "inspect": Subject(_fastmri, _inspect),
    "images": Subject(_images, _read_images),
    "ISMRMRD": Subject(_mrd, _read_scan),
    "BART": Subject(_bart, _read_scan),
    "npy": Subject(_npy, _read_scan),
    "NIfTI": Subject(_nifti, _read_nifti, {".gz": damage_gzip}),
    "pictures": Subject(_pictures, lambda path: list(read_magnitudes(path))),
    "npz": Subject(_archives, lambda path: list(read_magnitudes(path)), {".npz": damage_zip}),
    "masks": Subject(_masks, lambda path: read_mask_file(path, SIDE, SIDE), {".npz": damage_zip}),
    "header": Subject(_headers, _read_header),
    "checkpoint": Subject(_checkpoint, _read_checkpoint, {".json": damage_json}),
    "state": Subject(_state, lambda path: SafeStates().load_checkpoint(path)),
}
