"""`inspect` must be quick: what it needs is imported without torch."""

import subprocess
import sys
from pathlib import Path

import mri_iahvae

ROOT = Path(mri_iahvae.__file__).parent
NUMPY_ONLY = ["scans", "evaluation", "tasks/inspect.py"]
NUMPY_ONLY += [
    f"kspace/{name}.py" for name in ("centre_crop", "masks", "noise_estimate", "sampling_pattern", "scales")
]
NUMPY_ONLY += [
    f"results/{name}.py" for name in ("drawing", "figures", "hdf5", "nifti", "panels", "paths", "report")
]


def test_numpy_is_enough():
    paths = [path for name in NUMPY_ONLY for path in [ROOT / name, *(ROOT / name).rglob("*.py")]]
    names = [".".join(("mri_iahvae", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
