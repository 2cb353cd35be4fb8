"""The prior in sigpy's least squares: eight simulated coils, random columns at 4x, and noise.

python examples/sigpy_prox.py
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import sigpy
from sigpy.app import LinearLeastSquares
from sigpy.mri import birdcage_maps

import mri_iahvae
from mri_iahvae.adapters.sigpy import PriorProx
from mri_iahvae.tasks.simulate import write_example

with (
    tempfile.TemporaryDirectory() as folder,
    h5py.File(write_example(Path(folder) / "scan.h5", noise=0)) as file,
):
    image = sigpy.ifft(file["kspace"][12], axes=(-2, -1))  # complex64 (128, 128)

coils = sigpy.linop.Multiply(image.shape, birdcage_maps((8, *image.shape), dtype=np.complex64))
fourier = sigpy.linop.FFT(coils.oshape, axes=(-2, -1))
mask = mri_iahvae.draw_mask("random", image.shape, 4, seed=1)
A = sigpy.linop.Multiply(fourier.oshape, mask.astype(np.complex64)) * fourier * coils

sigma = 0.05 * np.sqrt(np.mean(np.abs(image) ** 2))  # of the noise, per real and imaginary part
noise = np.random.default_rng(0).normal(size=(2, *A.oshape))
y = A(image) + (sigma * mask * (noise[0] + 1j * noise[1])).astype(np.complex64)

prior = PriorProx(image.shape, mri_iahvae.Prior(quality="fast"), sigma)
for name, prox in (("no prior", None), ("prior", prior)):
    found = LinearLeastSquares(A, y, proxg=prox, max_iter=10, show_pbar=False).run()
    nmse = np.linalg.norm(found - image) ** 2 / np.linalg.norm(image) ** 2
    print(f"{name:15} NMSE {nmse:.4f}")
