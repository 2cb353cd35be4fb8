"""The prior in a plug-and-play algorithm of deepinv: proximal gradient descent at random columns 4x.

pip install deepinv, then python examples/deepinv_pnp.py
"""

import tempfile
from pathlib import Path

import deepinv
import h5py
import numpy as np
import torch

import mri_iahvae
from mri_iahvae.adapters.deepinv import PriorDenoiser
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.tasks.simulate import write_example

STEPS = 8

with tempfile.TemporaryDirectory() as folder, h5py.File(write_example(Path(folder) / "scan.h5")) as file:
    image = ifft2c(torch.from_numpy(file["kspace"][12]))
image = image / image.abs().square().mean().sqrt()
x = torch.stack([image.real, image.imag])[None]  # (1, 2, 128, 128)

columns = torch.from_numpy(mri_iahvae.draw_mask("random", tuple(image.shape), acceleration=4, seed=1))
physics = deepinv.physics.MRI(mask=columns.float().expand(x.shape), img_size=x.shape[1:])
y = physics(x)

denoiser = PriorDenoiser(mri_iahvae.Prior("small", device="cpu", quality="fast"))
algorithm = deepinv.optim.optim_builder(
    iteration="PGD",
    prior=deepinv.optim.PnP(denoiser=denoiser),
    data_fidelity=deepinv.optim.L2(),
    max_iter=STEPS,
    params_algo={"stepsize": 1.0, "g_param": np.geomspace(0.4, 0.02, STEPS).tolist()},
)
with torch.no_grad():
    found = algorithm(y, physics)
for name, result in (("zero-filled", physics.A_adjoint(y)), ("plug and play", found)):
    print(f"{name:15} NMSE {float((result - x).square().sum() / x.square().sum()):.4f}")
