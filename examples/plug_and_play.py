"""Plug and play in PyTorch: proximal gradient descent of random columns at 4x, with the prior as the denoiser.

`PriorDenoiser` is called as deepinv calls a denoiser: `deepinv.optim.prior.PnP(denoiser=PriorDenoiser(prior))`.

python examples/plug_and_play.py
"""

import tempfile
from pathlib import Path

import h5py
import torch

import mri_iahvae
from mri_iahvae.adapters.deepinv import PriorDenoiser
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.tasks.simulate import write_example

STEPS = 10

with tempfile.TemporaryDirectory() as folder, h5py.File(write_example(Path(folder) / "scan.h5")) as file:
    kspace = torch.from_numpy(file["kspace"][12:13])  # complex64 (1, 128, 128)
    target = torch.from_numpy(file["reconstruction_esc"][12:13])
    noise_sigma = float(file.attrs["noise_sigma"])

mask = torch.from_numpy(mri_iahvae.draw_mask("random", kspace.shape, 4, seed=1))
data = torch.where(mask, kspace, 0)
denoiser = PriorDenoiser(mri_iahvae.Prior(quality="fast"))

x = ifft2c(data)
first, last = (
    0.5 * float(x.abs().square().mean().sqrt()),
    3 * noise_sigma,
)  # aliasing counts as noise at first
for step in range(STEPS):
    sigma = first * (last / first) ** (step / (STEPS - 1))
    consistent = ifft2c(torch.where(mask, data, fft2c(x)))  # a gradient step of length 1
    x = denoiser(consistent, sigma)

direct = mri_iahvae.reconstruct(data, mask).image
for name, image in (("zero-filled", ifft2c(data)), ("plug and play", x), ("reconstruct", direct)):
    nmse = float(((image.abs() - target) ** 2).sum() / (target**2).sum())
    print(f"{name:15} NMSE {nmse:.4f}")
