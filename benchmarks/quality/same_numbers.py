"""Record what the methods give on the reporting slices, to compare two versions of the program.

    python benchmarks/quality/same_numbers.py data/reporting --json before.json
    python benchmarks/quality/same_numbers.py data/reporting --json after.json --against before.json

Only the public Python API is used, so that the same script runs on both versions. Of every slice NMSE and energy
of the image are kept; `--against` prints the largest relative difference of each case, and the ratio of times.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np

import mri_iahvae

_EVERY = 4  # of the slices for what takes long


def _columns(count: int, acceleration: int) -> np.ndarray:
    """Bool (count,): a measured centre and random columns."""
    mask = np.random.default_rng(acceleration).random(count) < 1 / acceleration
    mask[count // 2 - 5 : count // 2 + 5] = True
    return mask


_EVERYTHING: dict[str, Any] = {"data_consistency": "none"}
_COLUMNS: dict[str, Any] = {"acceleration": 4}
CASES: dict[str, dict[str, Any]] = {
    "default, columns 4x": _COLUMNS,
    "default, up to 16x16": {"up_to": "16x16"},
    "default, everything measured": _EVERYTHING,
    "amortized, columns 4x": {**_COLUMNS, "method": "amortized"},
    "amortized, everything measured": {**_EVERYTHING, "method": "amortized"},
    "iterative, columns 4x": {**_COLUMNS, "method": "iterative", "every": _EVERY},
    "paper, everything measured": {**_EVERYTHING, "method": "paper", "every": _EVERY},
    "paper, columns 4x": {**_COLUMNS, "method": "paper", "every": _EVERY},
    "samples, columns 4x": {**_COLUMNS, "samples": 2, "every": _EVERY},
    "samples, up to 16x16": {"up_to": "16x16", "samples": 2, "every": _EVERY},
    "denoise 0.2": {"noise": 0.2},
    "denoise 0.2, samples": {"noise": 0.2, "samples": 2, "every": _EVERY},
    "denoise 1.0": {"noise": 1.0, "every": _EVERY},
    "four shifts, columns 8x": {"acceleration": 8, "shifts": 4, "every": 2 * _EVERY},
}


def _run(kspace: np.ndarray, case: dict[str, Any]) -> np.ndarray:
    """Complex images (slices, H, W)."""
    options = {key: value for key, value in case.items() if key not in ("acceleration", "noise", "every")}
    if "noise" in case:
        rms = np.sqrt(np.mean(np.abs(kspace) ** 2, axis=(1, 2)))
        parts = np.random.default_rng(0).standard_normal((2, *kspace.shape))
        level = case["noise"] * rms
        noisy = kspace + level[:, None, None] * (parts[0] + 1j * parts[1])
        return mri_iahvae.denoise(noisy.astype(np.complex64), level, **options).image
    mask = _columns(kspace.shape[-1], case["acceleration"]) if "acceleration" in case else None
    return mri_iahvae.reconstruct(kspace, mask, **options).image


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "output", type=click.Path(path_type=Path), required=True, help="File of the results.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Results of another version.")
@click.option("--only", multiple=True, help="Cases whose name holds this text.")
def main(data: Path, output: Path, against: Path | None, only: tuple[str, ...]) -> None:
    """Run the cases on the files of DATA."""
    kspace, reference = [], []
    for path in sorted(data.glob("*.h5")):
        with h5py.File(path) as file:
            kspace.append(file["kspace"][()])
            reference.append(file["reconstruction_esc"][()])
    bins, truth = np.concatenate(kspace), np.concatenate(reference)
    results: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    for name, case in CASES.items():
        if only and not any(text in name for text in only):
            continue
        chosen = slice(None, None, case.get("every", 1))
        began = time.perf_counter()
        images = _run(bins[chosen], case)
        seconds = time.perf_counter() - began
        error = np.square(np.abs(images) - truth[chosen]).sum(axis=(1, 2))
        nmse = error / np.square(truth[chosen]).sum(axis=(1, 2))
        energy = np.square(np.abs(images)).sum(axis=(1, 2), dtype=np.float64)
        results[name] = {"seconds": seconds, "nmse": nmse.tolist(), "energy": energy.tolist()}
        output.write_text(json.dumps(results, indent=1))
        click.echo(f"{name}: mean NMSE {nmse.mean():.5f}, {seconds / len(nmse):.2f} s a slice")
    for name, here in results.items() if against else ():
        there = json.loads(against.read_text()).get(name) if against else None
        if there is not None:
            worst = max(
                float(np.max(np.abs(np.array(here[key]) / np.array(there[key]) - 1)))
                for key in ("nmse", "energy")
            )
            ratio = here["seconds"] / there["seconds"]
            click.echo(f"{name}: largest relative difference {worst:.1e}, time ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
