"""Several coils with uncertainty: whether samples' variance is that of the error, and what maps and whitening gain.

    python -m benchmarks.beyond.coils data/reporting --json benchmarks/beyond/coils.json

Measurements are those of `benchmarks.quality.coils`; the result is sensitivity-weighted, with soft data consistency.

Samples: "error / variance" is the energy of the image's error over the variance of the samples about the estimate; 1 is
right, more is over-confident. The true image is the noise-free one seen by the true coils, combined by the
sensitivities that were used. "within k" is the fraction of pixels, among those above a tenth of the slice's maximum,
whose magnitude lies within k standard deviations of the samples' mean magnitude; 0.68, 0.95 and 0.997 for a Gaussian.

Maps: NMSE with ESPIRiT's sensitivities and with the true ones. Whitening: noise of which neighbouring coils have 0.5 in
common and whose level grows fourfold from the first coil to the last, NMSE as it is and prewhitened by 4096 samples of
it, true sensitivities both times, each against its own noise-free image.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.coils import COILS, MASKS, NOISE, Measurement, measure
from benchmarks.shared import options
from benchmarks.shared.report import hashes, line, within
from benchmarks.shared.tasks import nmses
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.masks import DrawnMask
from mri_iahvae.kspace.noise import rms
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.scans.whitening import mixed, whitening

OTHER_NOISE = (0.01, 0.2)
_SAMPLES = 4096


def reconstruct(
    loaded: LoadedModel,
    kspace: NDArray[np.complex64],
    mask: NDArray[np.bool_],
    sigma: NDArray[np.float32] | float,
    maps: NDArray[np.complex64] | None = None,
    samples: int = 0,
) -> Reconstruction:
    """The sensitivity-weighted result; ESPIRiT's sensitivities without `maps`."""
    settings = InferenceSettings(data_consistency="soft", samples=samples)
    return reconstruct_coils(
        loaded.model,
        kspace,
        mask,
        settings,
        guide=loaded.guide,
        coil_combine="sensitivity",
        noise_sigma=sigma,
        sensitivities=maps,
        keep_sensitivities=True,
        keep_samples=samples > 0,
    )


def calibration(
    loaded: LoadedModel, measured: list[Measurement], noise: float, samples: int
) -> dict[str, float]:
    """The samples of one mask and noise level."""
    errors, variances, distances, nmse = 0.0, 0.0, [], []
    for one in measured:
        sigma = (noise * rms(one.image)).numpy()
        found = reconstruct(loaded, one.kspace.numpy(), one.mask.numpy(), sigma, samples=samples)
        if found.samples is None or found.std is None or found.sensitivities is None:
            raise AssertionError("asked for, so returned")
        seen = (found.sensitivities.conj() * one.maps.numpy()).sum(axis=1) * one.image.numpy()
        power = np.square(np.abs(seen)).sum(axis=(1, 2), keepdims=True)
        errors += float((np.abs(found.image - seen) ** 2 / power).sum())
        spread = np.abs(found.samples - found.image[:, None]) ** 2
        variances += float((spread.mean(axis=1) / power).sum())
        pixels = one.truth > 0.1 * one.truth.max(axis=(1, 2), keepdims=True)
        least = np.finfo(np.float32).tiny
        off = np.abs(np.abs(found.samples).mean(axis=1) - np.abs(seen)) / np.maximum(found.std, least)
        distances.append(off[pixels])
        nmse += nmses(one.truth, found.image)
    return {"nmse": float(np.mean(nmse)), "error / variance": errors / variances, **within(distances)}


def own_maps(loaded: LoadedModel, measured: list[Measurement]) -> float:
    """NMSE with the true sensitivities."""
    nmse = []
    for one in measured:
        sigma = (NOISE * rms(one.image)).numpy()
        given = one.kspace.numpy(), one.mask.numpy(), sigma, one.maps.numpy()
        nmse += nmses(one.truth, reconstruct(loaded, *given).image)
    return float(np.mean(nmse))


def whitened(loaded: LoadedModel, paths: list[Path], sampling: DrawnMask) -> dict[str, float]:
    """NMSE of correlated noise as it is, its level estimated, and prewhitened, its level known."""
    mixing = correlated()
    nmse: dict[str, list[float]] = {"as it is": [], "prewhitened": []}
    generator = np.random.default_rng(0)
    for path in paths:
        one = measure(path, sampling, mixing=torch.from_numpy(mixing))
        maps, mask = one.maps.numpy(), one.mask.numpy()
        found = reconstruct(loaded, one.kspace.numpy(), mask, 0.0, maps)
        nmse["as it is"] += nmses(one.truth, found.image)
        parts = generator.standard_normal((2, COILS, _SAMPLES))
        for i, level in enumerate(NOISE * rms(one.image).numpy()):
            samples = level * mixing @ (parts[0] + 1j * parts[1])
            matrix, sigma = whitening(np.cov(samples, bias=True)) or (np.eye(COILS), 0.0)
            seen = mixed(matrix, maps)
            kspace = mixed(matrix, one.kspace[i : i + 1].numpy())
            found = reconstruct(loaded, kspace, mask, sigma, seen)
            truth = (one.truth[i] * np.linalg.norm(seen, axis=0))[None]
            nmse["prewhitened"] += nmses(truth, found.image)
    return {name: float(np.mean(values)) for name, values in nmse.items()}


def correlated() -> NDArray[np.complex64]:
    """The mixing (coils, coils) of white noise, mean variance 1."""
    distance = np.abs(np.subtract.outer(np.arange(COILS), np.arange(COILS)))
    gains = 2.0 ** np.linspace(-1, 1, COILS)
    covariance = 0.5 ** np.minimum(distance, COILS - distance) * np.outer(gains, gains)
    return np.linalg.cholesky(covariance * COILS / np.trace(covariance)).astype(np.complex64)


@click.command()
@options.data
@options.checkpoint
@options.output
@click.option("--samples", default=8, show_default=True)
def main(data: Path, checkpoint: str, output: Path | None, samples: int) -> None:
    """Measure on the fully sampled fastMRI-schema files in DATA."""
    loaded, paths = LoadedModel.load(checkpoint, torch.device("cpu")), sorted(data.glob("*.h5"))
    record: dict[str, Any] = {**hashes(loaded), "coils": COILS, "samples": samples}

    def done(kind: str, name: str, found: dict[str, float]) -> None:
        record.setdefault(kind, {})[name] = found
        click.echo(f"{kind:12} {name:40} " + line(found, ".4f"))
        if output:
            write_json(output, record)

    for sampling in MASKS:
        measured = [measure(path, sampling) for path in paths]
        found = calibration(loaded, measured, NOISE, samples)
        done("calibration", f"{sampling}, noise {NOISE:g}", found)
        maps = {"ESPIRiT": found["nmse"], "true": own_maps(loaded, measured)}
        done("own maps", str(sampling), maps)
    for noise in OTHER_NOISE:
        measured = [measure(path, MASKS[0], noise) for path in paths]
        done("calibration", f"{MASKS[0]}, noise {noise:g}", calibration(loaded, measured, noise, samples))
    done("whitening", str(MASKS[0]), whitened(loaded, paths, MASKS[0]))


if __name__ == "__main__":
    main()
