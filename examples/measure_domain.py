"""Measure what a checkpoint knows on held-back scans, and store it in its config.json; `train` does this by itself.

python examples/measure_domain.py runs/first/model data/singlecoil/singlecoil_val "head; T1, T2"
"""

import sys
from pathlib import Path

import torch

from mri_iahvae.model.checkpoint import load_model, store_domain
from mri_iahvae.pipeline.training_data import FolderSlices
from mri_iahvae.scans.geometry import require_measured_grid
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.domain import measure_domain

checkpoint, data, description = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
model, _ = load_model(checkpoint)
scans = [open_scan(path) for path in hdf5_files(data)]
for scan in scans:
    require_measured_grid(scan, model.size)
domain = measure_domain(model, FolderSlices(scans, model.size), description, torch.device("cpu"))
if domain is None:
    sys.exit(f"{checkpoint}: only models with a scale-causal encoder can tell")
store_domain(checkpoint, domain)
print(domain)
