"""Files of fastMRI's exact schema at native sizes, made from magnitude slices with h5py alone.

fastMRI's own files may not be passed on. These have what makes native files awkward: readout oversampled twice with
nothing but noise in the extra field of view, columns of zero padding that only the header states, odd widths, a
k-space narrower than the image the header asks for, tiny units, and signal in columns far beyond a model's grid.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.kspace.centre_crop import crop_image, recentre
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.phase import smooth_phase

PEAK = 1e-5
"""Largest magnitude of a volume."""

PIXEL = 0.6875
"""Side of a pixel in mm: 220 mm on 320 pixels."""

_CENTER_FRACTION = 0.32  # of the columns, over the acceleration: as fastMRI has it

_HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <encoding>
    <encodedSpace><matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{fov_height}</x><y>{fov_width}</y><z>5</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{fov_rows}</x><y>{fov_columns}</y><z>5</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>\
</kspace_encoding_step_1>
      <slice><minimum>0</minimum><maximum>{last_slice}</maximum><center>0</center></slice>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>
"""


@dataclass(frozen=True)
class Layout:
    """The sizes of a file.

    Attributes:
        height: rows of k-space, readout, twice oversampled.
        width: columns of k-space.
        recon: (rows, columns) that the header's reconSpace states.
        acquired: first acquired column, and the first one after the last; padding lies outside.
    """

    height: int
    width: int
    recon: tuple[int, int]
    acquired: tuple[int, int]

    @property
    def image(self) -> tuple[int, int]:
        """(rows, columns) of the reference: reconSpace, or a square of the width where k-space is narrower."""
        return self.recon if self.recon[1] <= self.width else (self.width, self.width)

    def header(self, slices: int) -> str:
        """`ismrmrd_header`."""
        (rows, columns), (first, end) = self.recon, self.acquired
        return _HEADER.format(
            height=self.height,
            width=self.width,
            rows=rows,
            columns=columns,
            fov_height=self.height * PIXEL,
            fov_width=self.width * PIXEL,
            fov_rows=rows * PIXEL,
            fov_columns=columns * PIXEL,
            maximum=end - first - 1,
            center=self.width // 2 - first,
            last_slice=slices - 1,
        )


LAYOUTS = {
    "640x368": Layout(640, 368, (320, 320), (20, 348)),
    "640x372": Layout(640, 372, (320, 320), (0, 372)),
    "640x371": Layout(640, 371, (320, 320), (0, 371)),
    "512x320": Layout(512, 320, (256, 256), (0, 320)),
    "640x264": Layout(640, 264, (320, 320), (0, 264)),
}
"""Knee and brain sizes of fastMRI; the last one is that of the narrow FLAIR files."""


def write_native(
    path: Path,
    layout: Layout,
    magnitudes: NDArray[np.floating],
    *,
    noise: float = 0.01,
    acceleration: int | None = None,
    coils: int | None = None,
    seed: int = 0,
) -> None:
    """Write a file, one slice of k-space in memory at a time.

    With an acceleration it is one of the test partition: columns left out (random ones, fastMRI's, drawn from the
    file's name), `mask` (1 in padding, too), no reference. Else it is one of train or val: all that is acquired, and
    the noise-free reference.

    Args:
        path: the file.
        layout: its sizes.
        magnitudes: (slices, h, w), at least 0, no larger than the image.
        noise: standard deviation per real and imaginary part, over the RMS of the noise-free, cropped volume.
        acceleration: of the test partition.
        coils: number of coils, for (slices, coils, height, width) and `reconstruction_rss`; None is single-coil.
        seed: of phase and noise, together with the file's name.
    """
    names = hashlib.sha256(f"{path.name}:{seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(names[:8], "big"))
    slices = len(magnitudes)
    scale = PEAK / float(magnitudes.max())
    area = layout.image[0] * layout.image[1]
    sigma = noise * scale * float(np.sqrt((np.asarray(magnitudes, np.float64) ** 2).sum() / slices / area))
    mask = np.ones(layout.width, bool)
    if acceleration is not None:
        center = _CENTER_FRACTION / acceleration
        mask = column_mask(layout.width, acceleration, center, "random", path.name)
    measured = mask & _acquired(layout)
    with h5py.File(path, "w") as file:
        shape = (slices, *(() if coils is None else (coils,)), layout.height, layout.width)
        kspace = file.create_dataset("kspace", shape, np.complex64)
        reference = np.empty((slices, *layout.image), np.float32)
        for number, clean in enumerate(_clean_kspace(layout, magnitudes, scale, coils, generator)):
            parts = torch.randn(*clean.shape, 2, generator=generator)
            noisy = clean + sigma * torch.view_as_complex(parts).numpy()
            kspace[number] = np.where(measured, noisy, 0).reshape(shape[1:])
            images = np.abs(crop_image(ifft2c(torch.from_numpy(clean)).numpy(), *layout.image))
            reference[number] = np.sqrt((images**2).sum(axis=0))
        file["ismrmrd_header"] = layout.header(slices)
        file.attrs.update({"acquisition": "AXT1", "patient_id": f"generated {path.stem}"})
        if acceleration is None:
            file["reconstruction_esc" if coils is None else "reconstruction_rss"] = reference
            norm = np.linalg.norm(reference.astype(np.float64))
            file.attrs.update({"max": float(reference.max()), "norm": float(norm)})
        else:
            file["mask"] = np.where(_acquired(layout), mask, True)
            low = round(layout.width * _CENTER_FRACTION / acceleration)
            file.attrs.update({"acceleration": acceleration, "num_low_frequency": low})


def _clean_kspace(
    layout: Layout,
    magnitudes: NDArray[np.floating],
    scale: float,
    coils: int | None,
    generator: torch.Generator,
) -> Iterator[NDArray[np.complex64]]:
    """Noise-free k-space of each slice, (coils, height, width), zero in padding."""
    rows, width = layout.recon[0], layout.width
    weights = np.ones((1, rows, width)) if coils is None else _sensitivities(coils, rows, width)
    for magnitude in magnitudes:
        phase = smooth_phase(1, (rows, width), generator)[0].numpy()
        field = weights * (scale * recentre(magnitude, rows, width) * np.exp(1j * phase))
        image = recentre(field, layout.height, width).astype(np.complex64)
        yield np.where(_acquired(layout), fft2c(torch.from_numpy(image)).numpy(), 0)


def _acquired(layout: Layout) -> NDArray[np.bool_]:
    columns = np.arange(layout.width)
    return (columns >= layout.acquired[0]) & (columns < layout.acquired[1])


def _sensitivities(coils: int, height: int, width: int) -> NDArray[np.complex128]:
    """Smooth coil sensitivities (coils, height, width): bumps around the head, each of its own phase, RSS 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    angles = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    distance = (y - 1.2 * np.sin(angles)) ** 2 + (x - 1.2 * np.cos(angles)) ** 2
    maps = np.exp(-distance / 2 + 1j * (angles + 0.5 * x * np.cos(angles) + 0.5 * y * np.sin(angles)))
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))
