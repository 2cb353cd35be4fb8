"""Average the weights of two checkpoints of one training run, stored in half precision.

python examples/average_checkpoints.py runs/small/earlier runs/small/model pretrained/small

Both must be of one model, the later one trained on from the earlier: averages of unrelated weights mean nothing.
"""

import json
import sys
from pathlib import Path

from mri_iahvae.model.checkpoint import load_model, save_model

earlier, later, target = map(Path, sys.argv[1:4])
(model, first), (other, second) = load_model(earlier), load_model(later)
if model.config != other.config:
    sys.exit(f"{earlier} and {later}: expected checkpoints of one model, found different configurations")
for mean, weight in zip(model.parameters(), other.parameters(), strict=True):
    mean.data.lerp_(weight.data, 0.5)
training = json.loads((later / "config.json").read_text())["training"]
save_model(model, target, {**training, "averaged_sha256": [first, second]}, half=True)
print(f"{target}: {sum(p.numel() for p in model.parameters()):,} parameters")
