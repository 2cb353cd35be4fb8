"""Two ways to adapt a small guide to its measurement: kernels from a hypernetwork, and channel-wise scale and shift.

Half of the steps train a base; the ways that need a frozen base take the other half on it, the others go on.
"""

import copy
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.neighbours.ia_vae.hypernetwork import HyperNetwork, layers_of, modulated
from benchmarks.neighbours.report import arrays, paired
from mri_iahvae.errors import unusable
from mri_iahvae.kspace.octaves import OCTAVES, octaves, ring_means
from mri_iahvae.model.guide import Guide, slice_unit
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.training.guide_module import relative_error
from mri_iahvae.training.guide_tasks import Measured, random_measurements

CONFIG = GuideConfig(steps=2, widths=(8, 16), blocks=1, fold=2)
SIDE, BATCH = 32, 8
RATE = 2e-3
HIDDEN = 32
"""Units of the hypernetwork."""
HELD_OUT = 400
"""Slices that score, of subjects that train nothing."""
FEATURES = 2 * OCTAVES + 1
WAYS = ("none", "scale and shift", "scale and shift, frozen base", "kernels, frozen base")


class Adapted(nn.Module):
    """A guide, with a hypernetwork for its kernels or without."""

    def __init__(self) -> None:
        super().__init__()
        self.guide = Guide(CONFIG)
        self.hypernetwork: HyperNetwork | None = None

    def add_hypernetwork(self) -> None:
        """For all convolutions of the unrolled steps."""
        self.hypernetwork = HyperNetwork(layers_of(self.guide.steps, nn.Conv2d), FEATURES, HIDDEN)

    def forward(self, task: Measured) -> Tensor:
        """All bins, complex64 (B, H, W)."""
        within: Any = nullcontext()
        if self.hypernetwork is not None:
            changes = self.hypernetwork(features(task))
            within = modulated(layers_of(self.guide.steps, nn.Conv2d), changes)
        with within:
            evidence = self.guide.look(task.kspace, task.mask, task.sigma)
        return evidence.kspace * evidence.unit[:, None, None]

    def choose(self, way: str) -> list[nn.Parameter]:
        """The parameters that a way trains: without "scale and shift" those stay zero, and nothing knows the mask."""
        for name, parameter in self.used(way):
            adapts = name.startswith("hypernetwork.") or _scales_and_shifts(name)
            parameter.requires_grad_(adapts or not way.endswith("frozen base"))
        return [parameter for _, parameter in self.used(way) if parameter.requires_grad]

    def used(self, way: str) -> list[tuple[str, nn.Parameter]]:
        """The parameters that a way's result depends on."""
        return [
            (name, parameter)
            for name, parameter in self.named_parameters()
            if ".error." not in name and (way.startswith("scale") or not _scales_and_shifts(name))
        ]


def _scales_and_shifts(name: str) -> bool:
    return ".adapt." in name or ".condition." in name


def features(task: Measured) -> Tensor:
    """What the hypernetwork sees: noise, and in each octave density and measured power, float (B, FEATURES)."""
    unit = slice_unit(task.kspace, task.mask)
    ring = octaves(task.mask)
    density = ring_means(task.mask.float(), torch.ones_like(task.mask), ring)
    power = ring_means((task.kspace / unit[:, None, None]).abs().square(), task.mask, ring)
    noise = (task.sigma / unit).square().add(1e-6).log()[:, None]
    return torch.cat([noise / 4, density, power.add(1e-6).log() / 4], dim=1)


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Slices for training and held out, float32 (n, 32, 32): means over squares of the file's pixels.

    Held out are slices of every tenth subject.

    Raises:
        ScanError: it is no npz file with square images of sides that are multiples of 32, and their subjects.
    """
    images, subjects = arrays(path, "images", "subject")
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.shape[1] % SIDE:
        expected = f"square images of a side that is a multiple of {SIDE}"
        raise unusable(path, expected, f"shape {images.shape}", "choose another file")
    held_out = np.isin(subjects, np.unique(subjects)[::10])
    order = np.random.default_rng(0).permutation(len(images))
    parts = [order[~held_out[order]], order[held_out[order]][:HELD_OUT]]
    small = [
        F.avg_pool2d(torch.from_numpy(images[part] / 255).float(), images.shape[1] // SIDE) for part in parts
    ]
    return small[0], small[1]


def run(path: Path, seeds: int, steps: int) -> dict[str, Any]:
    """Each way, `steps` of training in all; of held-out slices NMSE, relative error and seconds."""
    slices, held_out = load(path)
    judged = random_measurements(held_out, torch.Generator().manual_seed(0))
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for seed in range(seeds):
        torch.manual_seed(seed)
        plain = Adapted()
        started = {way: copy.deepcopy(plain) for way in WAYS[:2]}
        seconds = {way: fit(model, way, slices, steps // 2, seed) for way, model in started.items()}
        for way in WAYS:
            first = "none" if way.endswith("frozen base") else way
            model = copy.deepcopy(started[first])
            if way.startswith("kernels"):
                model.add_hypernetwork()
            spent = seconds[first] + fit(model, way, slices, steps // 2, seed + 1000)
            rows[way].append({**score(model, way, judged), "training_seconds": spent})
    energy = (judged.truth.abs().square()).sum(dim=(1, 2))
    zero_filled = torch.where(judged.mask, judged.kspace, 0) - judged.truth
    baseline = float((zero_filled.abs().square().sum(dim=(1, 2)) / energy).mean())
    return {"steps": steps, "zero_filled_nmse": baseline, "rows": rows, "ratios": ratios(rows)}


def fit(model: Adapted, way: str, slices: Tensor, steps: int, seed: int) -> float:
    """Minimise the relative error by Adam, on random measurements: processor seconds."""
    start, noise = time.process_time(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.choose(way), RATE, fused=True)
    for _ in range(steps):
        chosen = torch.randint(len(slices), (BATCH,), generator=noise)
        task = random_measurements(slices[chosen], noise)
        loss = relative_error(model(task), task).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - start


@torch.no_grad()
def score(model: Adapted, way: str, task: Measured) -> dict[str, float]:
    """Means over the slices."""
    start = time.process_time()
    found = model(task)
    seconds = (time.process_time() - start) / len(found)
    energy = [bins.abs().square().sum(dim=(1, 2)) for bins in (found - task.truth, task.truth)]
    return {
        "nmse": float((energy[0] / energy[1]).mean()),
        "relative_error": float(relative_error(found, task).mean()),
        "seconds_per_slice": seconds,
        "weights": sum(parameter.numel() for _, parameter in model.used(way)),
    }


def ratios(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """NMSE of kernels over that of each other way, geometric mean over seeds; p of the paired t test of logarithms."""
    logs = {way: np.log([row["nmse"] for row in of_seeds]) for way, of_seeds in rows.items()}
    kernels = logs.pop(WAYS[-1])
    found = {way: paired(kernels, other) for way, other in logs.items()}
    return {way: {"ratio": float(np.exp(one["gain"])), "p": one["p"]} for way, one in found.items()}


def table(results: dict[str, Any]) -> str:
    """Means over seeds, and the standard deviation of NMSE."""
    lines = [f"zero-filled NMSE {results['zero_filled_nmse']:.4f}"]
    for way, of_seeds in results["rows"].items():
        nmse = np.array([row["nmse"] for row in of_seeds])
        columns = ("relative_error", "training_seconds", "seconds_per_slice", "weights")
        error, training, each, weights = (np.mean([row[column] for row in of_seeds]) for column in columns)
        numbers = (
            f"{nmse.mean():.4f} +- {nmse.std(ddof=1):.4f} | {error:.3f} | {training:.0f} | {1000 * each:.2f}"
        )
        lines.append(f"{way} | {weights:.0f} | {numbers}")
    for way, found in results["ratios"].items():
        lines.append(f"NMSE of kernels over {way}: {found['ratio']:.3f}, p = {found['p']:.3f}")
    return "\n".join(lines)
