"""Measure how far a model's priors spread on held-back scans, and store it in its config.json; `train` does this by
itself.

python examples/measure_spread.py runs/small/model data/singlecoil/singlecoil_val

Estimates of missing or noisy bins let the prior count as many times (`inference.measurement`).
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from mri_iahvae.files import write_json
from mri_iahvae.model.checkpoint import find_checkpoint, load_model
from mri_iahvae.pipeline.training_data import FolderSlices
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.spread import measure_spread

checkpoint, data = sys.argv[1], Path(sys.argv[2])
model, _ = load_model(checkpoint)
held_out = FolderSlices([open_scan(path) for path in hdf5_files(data)], model.size)
spread = measure_spread(model, held_out, torch.device("cpu"))
file = find_checkpoint(checkpoint) / "config.json"
config = json.loads(file.read_text())
config["model"] = replace(model.config, spread=spread).to_json()
write_json(file, config)
print(f"{file}: {spread}")
