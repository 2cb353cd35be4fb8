"""Scans in fastMRI's form from magnitude images: simulated smooth phase, thermal noise, column masks."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import torch

from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.files import make_folder, require_new
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import DrawnMask, MaskAxis, MaskType, drawn_mask, true_acceleration
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.results.provenance import provenance
from mri_iahvae.scans.formats.magnitude_images import Volume, read_magnitudes
from mri_iahvae.words import counted

Reference = Literal["clean", "noisy"]

PEAK = 1e-3
"""Largest magnitude of a simulated volume: tiny, as the intensities of fastMRI are."""


@dataclass(frozen=True)
class _Settings:
    noise: float
    reference: Reference
    phase: float
    drawn: DrawnMask | None
    seed: int

    def __post_init__(self) -> None:
        if self.noise < 0 or self.phase < 0:
            raise UsageError("noise and phase must be at least 0")


def simulate(
    sources: Iterable[str | Path],
    output_dir: str | Path,
    *,
    noise: float = 0.01,
    reference: Reference = "clean",
    phase: float = 1.0,
    acceleration: int | None = None,
    center_fraction: float | None = None,
    mask_type: MaskType | None = None,
    mask_axis: MaskAxis | None = None,
    mask_seed: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Make fastMRI single-coil files from magnitude images, and return their paths in order.

    The complex image is the magnitude, its maximum scaled to `PEAK`, times exp(i smooth phase), one phase map
    per slice. Its k-space gets white noise of one sigma per volume, stored as the attribute `noise_sigma`.

    Args:
        sources: NIfTI files, npz archives or folders of pictures, see `mri_iahvae.scans.formats.magnitude_images`.
        output_dir: folder of the results, `<stem>.h5` per NIfTI file or folder, `<subject>.h5` per subject of an npz.
        noise: sigma per real and imaginary part, in units of the noise-free volume's RMS.
        reference: `reconstruction_esc` is the noise-free magnitude ("clean") or that of the noisy, fully
            sampled image ("noisy"), as in fastMRI.
        phase: standard deviation of the smooth phase within a slice, in radians.
        acceleration: nominal acceleration of a mask (`kspace.masks.DrawnMask`); everything is measured without.
        center_fraction: fraction of the lines, around DC, that is always measured; 0.32 / acceleration by default.
        mask_type: "random" (default), "equispaced", "magic" or "poisson".
        mask_axis: "columns" (default) or "rows".
        mask_seed: of the mask; the file name by default.
        seed: of phase and noise, together with the file name.
        overwrite: replace files that exist.
        report: called with one line per file.

    Raises:
        UsageError: settings that cannot be, a file that exists, or two volumes of one name.
        ScanError: a source that cannot be used.
        IahvaeError: a file that cannot be written.
    """
    drawn = drawn_mask(acceleration, center_fraction, mask_type, mask_axis, mask_seed)
    settings = _Settings(noise, reference, phase, drawn, seed)
    folder = Path(output_dir)
    make_folder(folder)
    written: list[Path] = []
    for source in sources:
        for volume in read_magnitudes(source):
            path = folder / f"{_safe(volume.name)}.h5"
            if path in written:
                raise UsageError(f"{path}: {source} would overwrite another volume; rename one")
            require_new(path, overwrite=overwrite)
            report(f"{source}: {_write(path, volume, settings, path.name)}")
            written.append(path)
    return written


def write_example(path: str | Path, *, noise: float = 0.01, seed: int = 0, overwrite: bool = False) -> Path:
    """Write the example scan: 24 axial slices of a head, 128 x 128, with simulated phase and noise.

    The magnitudes are the first volume of `example4d.nii.gz`, which comes with nibabel.

    Args:
        path: the HDF5 file to write.
        noise: as in `simulate`.
        seed: of phase and noise; the content does not depend on the file name.
        overwrite: replace a file that exists.

    Raises:
        UsageError: the file exists.
        IahvaeError: this nibabel comes without the volume, or the file cannot be written.
    """
    path = Path(path)
    settings = _Settings(noise, "clean", 1.0, None, seed)
    require_new(path, overwrite=overwrite)
    resource = files("nibabel") / "tests" / "data" / "example4d.nii.gz"
    if not resource.is_file():
        raise IahvaeError(
            "nibabel's tests/data/example4d.nii.gz is missing; pip install --force-reinstall nibabel"
        )
    with as_file(resource) as source:
        for volume in read_magnitudes(source):
            _write(path, volume, settings, "example")
    return path


def _write(path: Path, volume: Volume, settings: _Settings, name: str) -> str:
    """Simulate one volume into a file; `name` seeds it. Returns what the file holds, in words."""
    generator = torch.Generator().manual_seed(_seed(name, settings.seed))
    magnitude = torch.from_numpy(volume.images) * PEAK
    angle = smooth_phase(len(magnitude), (magnitude.shape[1], magnitude.shape[2]), generator, settings.phase)
    kspace = fft2c(torch.polar(magnitude, angle))
    sigma = settings.noise * rms(kspace).double().square().mean().sqrt().item()
    kspace = kspace + complex_noise(tuple(kspace.shape), sigma, generator)
    drawn = settings.drawn
    record = {
        "relative_noise": settings.noise,
        "phase": settings.phase,
        "seed": settings.seed,
        **provenance(),
    }
    if drawn is not None:
        record["acceleration"] = drawn.acceleration
    _, *size = kspace.shape
    mask = None if drawn is None else drawn.mask((size[0], size[1]), path.name)
    write_scan(
        path,
        kspace.numpy(),
        mask=mask,
        reference=(magnitude if settings.reference == "clean" else ifft2c(kspace).abs()).numpy(),
        noise_sigma=sigma,
        voxel=volume.voxel,
        acquisition="SIMULATED",
        attributes=record,
    )
    sampling = "fully sampled" if mask is None else f"true acceleration {true_acceleration(mask):.2f}"
    count, height, width = volume.images.shape
    padded = "" if volume.size == (height, width) else " (padded from {}x{})".format(*volume.size)
    images = f"{counted(count, 'slice')} of {height}x{width}{padded}"
    return ", ".join((images, sampling, *volume.remarks))


def _seed(name: str, seed: int) -> int:
    """64 bits from a name and a number; Python's own hash changes from run to run."""
    return int.from_bytes(hashlib.sha256(f"{name}:{seed}".encode()).digest()[:8], "big")


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "volume"
