"""The central square of native fastMRI single-coil k-space: fully sampled files that `train` and `reconstruct` take.

python examples/fastmri_square.py knee/singlecoil_train data/knee/singlecoil_train

Readout oversampling is removed (inverse FFT along the readout, crop, FFT: exact, as every row is measured), then the
central 128 x 128 bins are kept (another side can be given as the third argument). Files that exist are left alone.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.reader import Scan, open_scan, to_grid
from mri_iahvae.scans.writer import write_scan

CENTRED = {"axes": -2}


def along_readout(transform: Callable[..., NDArray], values: NDArray) -> NDArray:
    """Centred, unitary FFT along the rows."""
    return np.fft.fftshift(transform(np.fft.ifftshift(values, **CENTRED), axis=-2, norm="ortho"), **CENTRED)


def square(scan: Scan, size: int) -> NDArray[np.complex64]:
    """k-space of one scan: complex64 (slices, size, size)."""
    rows = scan.height // 2 if scan.header is None else scan.header.recon[0]
    top = scan.height // 2 - rows // 2
    if min(rows, scan.width) < size or not to_grid(scan.mask, size).all():
        sys.exit(
            f"{scan.path}: expected its central {size}x{size} bins measured as a whole; leave the file out"
        )
    kspace = np.empty((scan.slices, size, size), np.complex64)
    for number in range(scan.slices):
        image = along_readout(np.fft.ifft, scan.read(number)[0])
        kspace[number] = to_grid(along_readout(np.fft.fft, image[top : top + rows]), size)
    return kspace


source, target = Path(sys.argv[1]), Path(sys.argv[2])
size = int(sys.argv[3]) if len(sys.argv) > 3 else 128
for path in sorted(source.glob("*.h5")):
    if not (target / path.name).exists():
        scan = open_scan(path)
        kspace = square(scan, size)
        image = np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2)), norm="ortho")
        reference = np.fft.fftshift(np.abs(image), axes=(1, 2)).astype(np.float32)
        acquisition = str(scan.attributes.get("acquisition", ""))
        write_scan(target / path.name, kspace, reference=reference, acquisition=acquisition)
        print(f"{target / path.name}: {scan.slices} slices")
