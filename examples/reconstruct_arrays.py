"""Reconstruct from arrays: keep the central 32 x 32 bins of the example scan, complete the rest.

python examples/reconstruct_arrays.py
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np

import mri_iahvae
from mri_iahvae.tasks.simulate import write_example

with tempfile.TemporaryDirectory() as folder:
    path = write_example(Path(folder) / "scan.h5")
    with h5py.File(path) as file:
        kspace = file["kspace"][10:13]  # complex64 (3, 128, 128)
        target = file["reconstruction_esc"][10:13]  # float32 (3, 128, 128)

result = mri_iahvae.reconstruct(kspace, up_to="32x32")

zero_filled = np.fft.fftshift(
    np.fft.ifft2(np.fft.ifftshift(result.zero_filled, axes=(1, 2)), norm="ortho"), axes=(1, 2)
)
for name, image in (("zero-filled", np.abs(zero_filled)), ("reconstruction", result.magnitude)):
    nmse = float(((image - target) ** 2).sum() / (target**2).sum())
    print(f"{name:15} NMSE {nmse:.4f}")
print({name: f"{share:.1%}" for name, share in result.fractions.items()})
