"""Multi-coil reconstruction against known truth: ours beside zero-filling, SENSE and L1-wavelet ESPIRiT.

    python -m benchmarks.quality.coils data/tuning --tune --json benchmarks/quality/coils.json
    python -m benchmarks.quality.coils data/reporting --json benchmarks/quality/coils.json

Eight coils of a birdcage (`sigpy.mri.birdcage_maps`, sum of squares 1) see the noise-free magnitude of every slice with
the phase of its file; every coil adds white noise of 0.05 of the slice's RMS per part. That magnitude
is the target; for such coils it is the RSS of the noise-free coil images, too.
Sensitivities come from the calibration region by our ESPIRiT, for every method alike. `--tune` finds the weights of
SENSE and of L1-wavelet ESPIRiT on subjects of which no number is reported; the second command reads them.

Needs the extra `bench`. Scores are fastMRI's, each slice a volume of its own, mean over slices; seconds are processor
time of one slice; ours calibrates within it, SENSE and L1-ESPIRiT before.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.shared import options
from benchmarks.shared.report import hashes, line, scores_line
from benchmarks.shared.tasks import scored, timed_scores
from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.files import write_json
from mri_iahvae.inference.rivals.seam import Method
from mri_iahvae.inference.rivals.sense import sense
from mri_iahvae.inference.rivals.wavelet import l1_wavelet
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.coils import rss
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import DrawnMask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.sensitivities import calibrate
from mri_iahvae.pipeline.coil_slice import CoilCombine
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.scans.reader import open_scan

COILS = 8
NOISE = 0.05
MASKS = (
    DrawnMask(4, 0.08, "random"),
    DrawnMask(4, 0.08, "equispaced"),
    DrawnMask(8, 0.04, "random"),
)
RIVALS: dict[str, Method] = {"SENSE": sense, "L1-ESPIRiT": l1_wavelet}
SENSE_WEIGHTS = (0.003, 0.01, 0.03, 0.1)
WAVELET_WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.1)

Images = NDArray[np.complexfloating] | NDArray[np.floating]


@dataclass(frozen=True)
class Measurement:
    """Slices of one file as the coils measure them.

    Attributes:
        truth: float32 (slices, N, N).
        kspace: complex64 (slices, coils, N, N), zero where not measured.
        mask: bool (N,), columns.
        sensitivities: complex64 (slices, coils, N, N), from the calibration region.
        image: complex64 (slices, N, N), noise-free.
        maps: complex64 (coils, N, N), the true sensitivities.
    """

    truth: NDArray[np.float32]
    kspace: Tensor
    mask: Tensor
    sensitivities: Tensor
    image: Tensor
    maps: Tensor

    def scored(self, images: Images) -> list[Scores]:
        """Scores of each slice as a volume of its own."""
        return scored(self.truth, images)


def measure(
    path: Path, sampling: DrawnMask, noise: float = NOISE, mixing: Tensor | None = None
) -> Measurement:
    """The first and the last slice of a file; `mixing` (coils, coils), where given, is applied to the noise."""
    from sigpy.mri import birdcage_maps  # noqa: PLC0415

    scan = open_scan(path)
    chosen = sorted({0, scan.slices - 1})
    truth = torch.from_numpy(np.asarray(scan.read_reference(slice(None)), np.float32)[chosen])
    image = torch.polar(truth, ifft2c(torch.from_numpy(scan.read(slice(None))[chosen])).angle())
    maps = torch.from_numpy(birdcage_maps((COILS, *image.shape[1:])).astype(np.complex64))
    full = fft2c(maps * image[:, None])
    generator = torch.Generator().manual_seed(sum(map(ord, path.name)))
    level = noise * rms(fft2c(image))[:, None, None, None]
    white = complex_noise(tuple(full.shape), level, generator)
    added = white if mixing is None else torch.einsum("cd,sdhw->schw", mixing, white)
    mask = torch.from_numpy(sampling.mask((image.shape[-2], image.shape[-1]), path.name))
    kspace = torch.where(mask, full + added, 0)
    coils = calibrate(kspace, mask.expand(image.shape[1:]), level.flatten())
    return Measurement(truth.numpy(), kspace, mask, coils.sensitivities, image, maps)


def regularised(method: Method, one: Measurement, weight: float) -> Images:
    """A rival with its weight in units of the measured RMS."""
    mask = one.mask.expand(one.kspace.shape[2:]).numpy()
    images = []
    for kspace, maps in zip(one.kspace.numpy(), one.sensitivities.numpy(), strict=True):
        unit = np.sqrt(np.mean(np.abs(kspace) ** 2))
        images.append(unit * method(kspace / unit, mask, maps, weight))
    return np.stack(images)


def zero_filled(one: Measurement) -> Images:
    """Root sum of squares of the zero-filled coil images."""
    return rss(ifft2c(one.kspace)).numpy()


def ours(model: LoadedModel, combine: CoilCombine, consistency: str) -> Callable[[Measurement], Images]:
    """The commands' defaults, by combination and data consistency."""
    settings = InferenceSettings(data_consistency=consistency)  # type: ignore[arg-type]

    def run(one: Measurement) -> Images:
        given = model.model, one.kspace.numpy(), one.mask.numpy(), settings
        return reconstruct_coils(*given, guide=model.guide, coil_combine=combine).magnitude

    return run


def tuned(measured: list[Measurement]) -> dict[str, float]:
    """The weight of least NMSE of each method that has one."""
    weights = {"SENSE": SENSE_WEIGHTS, "L1-ESPIRiT": WAVELET_WEIGHTS}
    best = {}
    for name, method in RIVALS.items():
        run = partial(regularised, method)
        nmse = {w: timed_scores(partial(run, weight=w), measured)["nmse"] for w in weights[name]}
        best[name] = min(nmse, key=nmse.__getitem__)
        click.echo(f"  {name}: {line({f'{w:g}': value for w, value in nmse.items()}, '.5f')}")
    return best


@click.command()
@options.data
@options.required_output
@click.option("--tune", is_flag=True, help="Find the weights instead of reporting.")
@options.checkpoint
def main(data: Path, output: Path, tune: bool, checkpoint: str) -> None:
    """Score multi-coil reconstructions of the fully sampled fastMRI-schema files in DATA."""
    record = json.loads(output.read_text()) if output.exists() else {"weights": {}, "rows": {}}
    if not tune:
        model = LoadedModel.load(checkpoint, torch.device("cpu"))
        record |= {**hashes(model), "coils": COILS, "noise": NOISE, "rows": {}}
    for sampling in MASKS:
        measured = [measure(path, sampling) for path in sorted(data.glob("*.h5"))]
        click.echo(f"{sampling}, {sum(len(one.truth) for one in measured)} slices")
        if tune:
            record["weights"][str(sampling)] = tuned(measured)
        else:
            weights = record["weights"].get(str(sampling))
            if weights is None:
                raise click.ClickException(f"{output} has no weights for {sampling}: run with --tune first")
            record["rows"][str(sampling)] = rows(model, measured, weights)
            record["slices"] = sum(len(one.truth) for one in measured)
        write_json(output, record)


def rows(
    model: LoadedModel, measured: list[Measurement], weights: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Every method's scores on one mask."""
    methods: dict[str, Callable[[Measurement], Images]] = {
        "zero-filled RSS": zero_filled,
        **{name: partial(regularised, method, weight=weights[name]) for name, method in RIVALS.items()},
        "ours, RSS": ours(model, "rss", "hard"),
        "ours, sensitivity, soft": ours(model, "sensitivity", "soft"),
    }
    found = {}
    for name, run in methods.items():
        found[name] = timed_scores(run, measured)
        click.echo(f"  {name:26} {scores_line(found[name])}")
    return found


if __name__ == "__main__":
    main()
