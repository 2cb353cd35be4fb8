"""Store a trained checkpoint in half precision, as the shipped models are.

python examples/halve_checkpoint.py runs/small/model pretrained/small
"""

import json
import sys
from pathlib import Path

from mri_iahvae.model.checkpoint import load_domain, load_model, save_model

source, target = Path(sys.argv[1]), Path(sys.argv[2])
model, _ = load_model(source)
training = json.loads((source / "config.json").read_text())["training"]
save_model(model, target, training, domain=load_domain(source), half=True)
print(f"{target}: {sum(p.numel() for p in model.parameters()):,} parameters")
